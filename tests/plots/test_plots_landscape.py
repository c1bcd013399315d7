"""Landscapes over the norm: what is drawn where, in which ink, and what is refused."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from printed import assert_printable, written

from toylab.plots import landscape, style

NORMS = np.geomspace(1, 64, 7)
FALLS = np.geomspace(1, 1e-6, 7)[:, None] * np.array([1.0, 1.3])
BOWL = np.exp(np.log(NORMS / 8) ** 2)[:, None] * np.array([1e-4, 1.5e-4])
FREE = landscape.Path(np.array([50.0, 30, 12, np.nan]), np.array([3.0, 0.1, 1e-3, np.nan]))


def both(**more):
    return landscape.Panel("loss", {"train": FALLS, "test": BOWL}, **more)


def decays():
    paths = {f"decay {decay:g}": [FREE._replace(values=FREE.values * decay)] for decay in (0.3, 0.6, 1.0)}
    return landscape.Panel("test loss", {"test": BOWL}, paths, {"0.002": 2e-3}, title="by decay")


DRAWINGS = {
    "one panel": lambda: landscape.landscape(NORMS, both()),
    "one with a title": lambda: landscape.landscape(NORMS, decays()),
    "paths by curve and by decay": lambda: landscape.landscape(NORMS, both(paths={"test": [FREE]}), decays()),
    "not on a log axis": lambda: landscape.landscape(NORMS, both(log=False, ylim=(0, 1))),
    "one norm": lambda: landscape.landscape(NORMS[:1], landscape.Panel("loss", {"test": BOWL[:1]})),
    "without values": lambda: landscape.landscape(NORMS, landscape.Panel("loss", {"test": BOWL * np.nan})),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_figures_are_printable(name):
    assert_printable(DRAWINGS[name]())


def test_medians_seeds_and_paths_are_where_they_belong():
    (ax,) = landscape.landscape(NORMS, both(paths={"test": [FREE]})).axes
    drawn = [(*line.get_data(), {to_hex(line.get_color()), to_hex(line.get_mec())}) for line in ax.lines]

    def there(x, y, ink):
        return any(np.array_equal(x, a) and np.array_equal(y, b) and ink.lower() in inks for a, b, inks in drawn)

    for values, ink in ((FALLS, style.TRAIN), (BOWL, style.TEST)):
        assert there(NORMS, np.median(values, axis=1), ink) and all(there(NORMS, seed, ink) for seed in values.T)
    assert there(FREE.norms[:3], FREE.values[:3], style.TEST)  # where the run has no value nothing is drawn
    assert there(FREE.norms[:1], FREE.values[:1], style.TEST) and there(FREE.norms[2:3], FREE.values[2:3], style.TEST)


def test_the_legend_names_what_has_no_curve_and_marks_stand_at_their_height():
    figure = landscape.landscape(NORMS, both(paths={"test": [FREE]}), decays())
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[2:] == ["decay 0.3", "decay 0.6", "decay 1"] and "free run" in names[1]
    assert len({to_hex(line.get_color()) for line in legend.get_lines()[2:]}) == 3
    assert any(list(line.get_ydata()) == [2e-3, 2e-3] for line in figure.axes[1].lines)
    assert {"0.002", "by decay", "a", "b"} <= {text.get_text() for text in written(figure)}


def test_what_does_not_fit_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"^norms must be increasing positive numbers \[N\]$"):
        landscape.landscape(NORMS[::-1], both())
    with pytest.raises(ValueError, match=r"^panels has 0 entries; it has 1 to 3$"):
        landscape.landscape(NORMS)
    with pytest.raises(ValueError, match=r"^train has shape \(7, 2\); with 3 norms it is \[3, S\]$"):
        landscape.landscape(NORMS[:3], both())
    short = landscape.Path(FREE.norms, FREE.values[:2])
    with pytest.raises(ValueError, match=r"^a path of test has norms \(4,\) and values \(2,\); both are \[T\]$"):
        landscape.landscape(NORMS, both(paths={"test": [short]}))
