"""What a printed figure must keep to; for the tests of every file of plots."""

from itertools import combinations

import matplotlib.style
from matplotlib.text import Text

from toylab.plots import labels, style


def written(figure):
    """The visible texts, without the tick labels that lie outside an axis and are never drawn."""
    unseen = set()
    for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        gone = [tick for tick in ticks if not (axis.get_visible() and low <= tick.get_loc() <= high)]
        unseen.update(label for tick in gone for label in (tick.label1, tick.label2))
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]


def pixels(figure):
    """The picture's size and bytes before its palette: of the same pixels `style.save` writes the same file, which
    tests/plots/test_plots.py holds it to. A picture takes a third of the time of a file."""
    with matplotlib.style.context(style.HOUSE, after_reset=True):
        picture = style._picture(figure, style.HOUSE["savefig.dpi"])
    return picture.size, picture.mode, picture.tobytes()


def assert_printable(figure):
    """A column or a page wide; text inside the figure, apart, and large enough to read."""
    assert figure.get_figwidth() in (style.COLUMN, style.PAGE)
    assert min(text.get_fontsize() for text in written(figure)) >= labels.SMALL
    boxes = {text: text.get_window_extent().padded(-0.5) for text in written(figure)}
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    assert not [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
