"""Colours of the explorer, told apart by colour-blind readers, on white and on dark grey."""

import numpy as np
from bokeh.palettes import Blues9, RdBu11, interp_palette

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6BB1", "#7F7F7F")
POSITIVE, NEGATIVE = "#D6604D", "#4393C3"
MARKED, PLAIN = "#E69F00", "#4C88B5"
NOTHING = "rgba(0, 0, 0, 0)"
UNKNOWN = "#8C8C8C"
MIDDLE = ("#3573D9", "#8A68CF", "#C75D9F", "#E2725B", "#E89A2C")  # light enough for dark grey, dark enough for white

_HALF = interp_palette((*RdBu11[:5], "#FFFFFF"), 128)  # blue to white
SYMMETRIC = [*_HALF, *interp_palette(("#FFFFFF", *RdBu11[6:]), 128)[1:]]
SEQUENTIAL = list(interp_palette(("#FFFFFF", *reversed(Blues9[:-1])), 256))
RISING = list(interp_palette(MIDDLE, 256))


def _hues(n: int = 256, light: float = 0.70, chroma: float = 0.125) -> list[str]:
    """A circle of hues of one lightness and chroma in OKLCH (Ottosson 2020), so that no part of it stands out."""
    angle = 2 * np.pi * np.arange(n) / n
    a, b = chroma * np.cos(angle), chroma * np.sin(angle)
    long, medium, short = (
        (light + x * a + y * b) ** 3
        for x, y in ((0.3963377774, 0.2158037573), (-0.1055613458, -0.0638541728), (-0.0894841775, -1.2914855480))
    )
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    ).clip(0, 1)
    return as_hex(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def as_hex(rgb: np.ndarray) -> list[str]:
    """[n, 3] from 0 to 1 → "#rrggbb" each; grey where it is nan."""
    whole = (255 * np.nan_to_num(rgb, nan=0.55).clip(0, 1)).round().astype(int)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in whole]


CYCLIC = _hues()


def of_values(values: np.ndarray, *, cyclic: bool) -> list[str]:
    """[n] → a colour each: from 0 to the greatest on a rising scale, or round the circle of hues; grey where it is nan."""
    finite = np.isfinite(values)
    known = values[finite]
    low = min(float(known.min(initial=0.0)), 0.0)
    span = float(known.max(initial=0.0)) - low or 1.0
    # round the circle the last of n values lies one place before the first
    share = np.where(finite, (values - low) / (span + (1.0 if cyclic else 0.0)), 0.0)
    palette = CYCLIC if cyclic else RISING
    places = (share * (255 if not cyclic else 256)).astype(int).clip(0, 255)
    return [palette[place] if here else UNKNOWN for place, here in zip(places, finite, strict=True)]
