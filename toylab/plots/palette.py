"""Pictures of few colours: a PNG with a palette of 256 takes a third of the bytes of one in true colour."""

import numpy as np
from PIL import Image

COLORS = 256  # what a PNG with a palette may have
LEVELS = 32  # of each channel, of a picture in true colour: 4 of 255 off at most, where 256 take up to twice the bytes
FEWER = (16, 32, 64, 128)  # smaller palettes, for a smaller file
CHANGED = 0.05  # the most pixels that a smaller one may change
MOST_OFF = 20  # of 255 in any channel: half the spacing 255 / ∛256 of a palette spread evenly over the colour cube


def reduced(picture: Image.Image) -> Image.Image:
    """The picture in a palette of its own, or in true colour of `LEVELS` levels where a palette would show.

    The palette is Pillow's maximum coverage, which bounds the error of the worst pixel (median cut and the octree leave
    thin lines of other colours), moved to the means of its colours, so that backgrounds and large areas keep theirs.
    Nothing is dithered: text stays sharp and equal areas equal. A smooth picture has more colours than a palette can
    have, and shows bands. It is told by its worst pixel: where a channel is more than `MOST_OFF` from what was drawn, the
    palette serves the picture no better than one that knows nothing of it. Of lines, text and even areas the smallest
    palette is taken that changes few pixels.

    Args:
        picture: RGB or RGBA. One with transparent pixels comes back as it is.
    """
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        return picture
    true = picture.convert("RGB")
    for colours in (*FEWER, COLORS):
        few = true.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        if furthest(true, few) <= MOST_OFF if colours == COLORS else hardly_off(true, few):
            return few
    return _coarse(true)


def _coarse(true: Image.Image) -> Image.Image:
    """The same with channels of `LEVELS` values, black and white among them."""
    level = np.rint(np.arange(256) / 255 * (LEVELS - 1))
    return true.point(np.rint(level * 255 / (LEVELS - 1)).astype(int).tolist() * 3)


def hardly_off(one: Image.Image, other: Image.Image) -> bool:
    """Whether few pixels of two pictures differ: edges of lines and letters may, shades of a map may not."""
    off = _differences(one, other).max(axis=-1)
    return int(off.max(initial=0)) <= MOST_OFF and float((off > 0).mean()) <= CHANGED


def furthest(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures of one size in any channel of any pixel, of 255."""
    return int(_differences(one, other).max(initial=0))


def _differences(one: Image.Image, other: Image.Image) -> np.ndarray:
    """[height, width, 3], of 255."""
    a, b = (np.asarray(picture.convert("RGB"), np.int16) for picture in (one, other))
    return np.abs(a - b)
