from . import declaring as declaring, moment as moment, pictures as pictures, recording as recording, views as views
from .moment import Moment as Moment
from .pictures import (
    Bars as Bars,
    Dots as Dots,
    Graph as Graph,
    Heatmap as Heatmap,
    Lines as Lines,
    Table as Table,
)
from .recording import Recording as Recording
from .declaring import Again as Again, Choice as Choice, Typed as Typed, View as View, Whole as Whole, view as view
