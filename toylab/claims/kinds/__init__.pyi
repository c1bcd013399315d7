from . import kind as kind, numbers as numbers, sets as sets, shares as shares
from .kind import Kind as Kind
from .numbers import Identity as Identity, Median as Median, Number as Number, Within as Within
from .sets import Cells as Cells, Excess as Excess, Existence as Existence, Law as Law, Ratio as Ratio
from .shares import Direction as Direction, Proportion as Proportion
