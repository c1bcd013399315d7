from . import (
    analysed as analysed,
    analyzers as analyzers,
    archive as archive,
    arguments as arguments,
    chunks as chunks,
    committed as committed,
    computing as computing,
    declaring as declaring,
    described as described,
    found as found,
    given as given,
    groups as groups,
    growing as growing,
    kept as kept,
    lab_page as lab_page,
    loaded as loaded,
    matching as matching,
    moment as moment,
    on_demand as on_demand,
    opening as opening,
    phases as phases,
    pictures as pictures,
    points as points,
    recording as recording,
    trained as trained,
    views as views,
    wording as wording,
)
from .given import of_arrays as of_arrays
from .loaded import of_sweep as of_sweep
from .moment import Moment as Moment
from .opening import open_folder as open_folder
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
