from . import (
    declaring as declaring,
    demand as demand,
    exporting as exporting,
    moment as moment,
    notebook as notebook,
    own as own,
    page as page,
    pictures as pictures,
    plots as plots,
    recording as recording,
    recordings as recordings,
    serving as serving,
    views as views,
    wording as wording,
)
from .recordings.given import of_arrays as of_arrays
from .recordings.loaded import of_sweep as of_sweep
from .moment import Moment as Moment
from .notebook import show as show
from .recordings.opening import open_folder as open_folder
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
