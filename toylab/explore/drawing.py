"""Pictures as Bokeh models: plots made once, and new data for them at another step."""

from collections.abc import Sequence
from typing import Any

from bokeh.models import ColumnDataSource, UIElement

from toylab.explore.pictures import Picture

Data = dict[str, Any]


class Panel:
    """The pictures of a view as Bokeh models.

    model      to be put into a layout
    sources    in a fixed order; all that changes with the step is in their data, titles and colour limits included
    """

    model: UIElement
    sources: list[ColumnDataSource]

    def __init__(self, pictures: Sequence[Picture]) -> None:
        raise NotImplementedError

    def show(self, pictures: Sequence[Picture]) -> None:
        """The same plots with other data, in place. No models are made."""
        raise NotImplementedError

    def fits(self, pictures: Sequence[Picture]) -> bool:
        """Whether these can be shown by `show`: as many, of the same kinds, with the same axes."""
        raise NotImplementedError

    @staticmethod
    def data_of(pictures: Sequence[Picture]) -> list[Data]:
        """What `sources` hold for these pictures. To show them in JavaScript set `source.data` of each, nothing else."""
        raise NotImplementedError
