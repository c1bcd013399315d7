"""Pictures of few colours: a PNG with a palette of 256 takes a third of the bytes of one in true colour."""

import numpy as np
from PIL import Image

COLORS = 256  # what a PNG with a palette may have
LEVELS = 32  # of each channel, of a picture in true colour: 4 of 255 off at most, where 256 take up to twice the bytes
FEWER = (
    (16, 12),
    (32, 12),
    (64, 12),
    (128, 12),
)  # smaller palettes, and how far off of 255 one may be for a smaller file
MOST_OFF = 20  # of 255 in any channel: half the spacing 255 / ∛256 of a palette spread evenly over the colour cube


def reduced(picture: Image.Image) -> Image.Image:
    """The picture in a palette of its own, or in true colour of `LEVELS` levels where a palette would show.

    The palette is Pillow's maximum coverage, which bounds the error of the worst pixel (median cut and the octree leave
    thin lines of other colours), moved to the means of its colours, so that backgrounds and large areas keep theirs.
    Nothing is dithered: text stays sharp and equal areas equal. A smooth picture has more colours than a palette can
    have, and shows bands. It is told by its worst pixel: where a channel is more than `MOST_OFF` from what was drawn, the
    palette serves the picture no better than one that knows nothing of it. The smallest palette that is hardly off is
    taken, for the size of the file.

    Args:
        picture: RGB or RGBA. One with transparent pixels comes back as it is.
    """
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        return picture
    true = picture.convert("RGB")
    for colours, most_off in (*FEWER, (COLORS, MOST_OFF)):
        few = true.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        if furthest(true, few) <= most_off:
            return few
    return _coarse(true)


def _coarse(true: Image.Image) -> Image.Image:
    """The same with channels of `LEVELS` values, black and white among them."""
    level = np.rint(np.arange(256) / 255 * (LEVELS - 1))
    return true.point(np.rint(level * 255 / (LEVELS - 1)).astype(int).tolist() * 3)


def furthest(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures of one size in any channel of any pixel, of 255."""
    a, b = (np.asarray(picture.convert("RGB"), np.int16) for picture in (one, other))
    return int(np.abs(a - b).max(initial=0))
