"""Pictures as Bokeh models: plots made once, and new data for them at another step."""

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, Row, UIElement

from toylab.explore.pictures import Picture
from toylab.explore.plots import kinds
from toylab.explore.plots.frames import Data

__all__ = ["Data", "Panel"]


class Panel:
    """The pictures of a view as Bokeh models.

    model      to be put into a layout
    sources    in a fixed order; all that changes with the step is in their data, titles and colour limits included
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._form = _form(pictures)
        self.sources: list[ColumnDataSource] = []
        models: list[UIElement] = []
        for picture in pictures:
            kind = kinds.of(picture)
            own = [ColumnDataSource(data=data) for data in kind.data(picture)]
            models.append(kind.make(picture, own))
            self.sources += own
        self.model = Row(
            children=models, spacing=10, sizing_mode="stretch_width", styles={"flex-wrap": "wrap", "row-gap": "10px"}
        )
        self.model.tags = list(self.sources)  # Bokeh sends what the page holds alone: no glyph takes a source of titles

    def fits(self, pictures: Sequence[Picture]) -> bool:
        """Whether these can be shown by `show`: as many, of the same kinds, with the same axes."""
        return _form(pictures) == self._form

    def show(self, pictures: Sequence[Picture]) -> None:
        """The same plots with other data, in place. No models are made.

        Raises:
            ValueError: for other kinds of pictures, or other axes.
        """
        if not self.fits(pictures):
            raise ValueError(f"the pictures are {_form(pictures)}: this panel was made for {self._form}.")
        for source, data in zip(self.sources, self.data_of(pictures), strict=True):
            source.data = data

    @staticmethod
    def data_of(pictures: Sequence[Picture]) -> list[Data]:
        """What `sources` hold for these pictures. To show them in JavaScript set `source.data` of each, nothing else."""
        return [data for picture in pictures for data in kinds.of(picture).data(picture)]


def _form(pictures: Sequence[Picture]) -> list[tuple[object, ...]]:
    return [(type(picture).__name__, *kinds.of(picture).form(picture)) for picture in pictures]
