"""Limits of colours and axes that are the same at every step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from toylab.explore.declaring import View
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Dots, Graph, Heatmap, Lines, Picture, Table
from toylab.explore.plots.frames import greatest

MOST_KEPT = 300
Draw = Callable[[View, Moment, dict[str, Any]], list[Picture]]


def reach(picture: Picture) -> float | None:
    """How far a picture's numbers go from 0, where its limit is for the page to find; else None."""
    match picture:
        case Heatmap(values=own, limit=None) | Bars(heights=own, limit=None) | Graph(weights=own, limit=None):
            return greatest(own, None)
        case Dots(x=x, y=y, limit=None):
            return greatest(np.concatenate([x, y]), None)
    return None


def _limited(picture: Picture, fixed: float) -> Picture:
    """With the fixed limit, where it has none. Colours stop at theirs; an axis goes on where the picture does, so that
    nothing is cut off."""
    own = reach(picture)
    if own is None or isinstance(picture, Lines | Table):
        return picture
    if isinstance(picture, Heatmap | Graph):
        return replace(picture, limit=fixed or own)
    return replace(picture, limit=max(fixed, own))


class Limits:
    """Draws a view with limits fixed over the steps: the greatest of its first, middle and last saved point."""

    def __init__(self) -> None:
        self._kept: dict[Any, list[float]] = {}

    def drawn(self, view: View, moment: Moment, values: dict[str, Any]) -> list[Picture]:
        """The pictures of a view, none of them without a limit.

        Raises:
            ValueError, LookupError: as the view does.
        """
        pictures = view.pictures(moment, **values)
        if all(reach(picture) is None for picture in pictures):
            return pictures
        key = (moment.run, view.name, tuple(sorted(values.items())), len(pictures))
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self._found(view, moment, values, len(pictures))
        return [_limited(picture, limit) for picture, limit in zip(pictures, self._kept[key], strict=True)]

    def forget(self) -> None:
        """Finds them anew, as when a run has gone on."""
        self._kept.clear()

    @staticmethod
    def _found(view: View, moment: Moment, values: dict[str, Any], n: int) -> list[float]:
        limits = [0.0] * n
        for place in sorted({0, len(moment.steps) // 2, len(moment.steps) - 1}):
            try:
                pictures = view.pictures(moment.other(place), **values)
            except (ValueError, LookupError):
                continue  # a damaged chunk, or a control that this point cannot serve: the others tell
            for i, picture in enumerate(pictures[:n]):
                limits[i] = max(limits[i], reach(picture) or 0.0)
        return limits
