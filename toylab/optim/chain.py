"""Chain: an optimizer with pieces around it, which change the gradient before it or its step after it.

`Chain(AdamW(lr=1e-2), before=(Orthogonal(),), after=(Scale(("W_E",), 0.1), KeepNorm()))`. A sweep names the leaves
`optimizer.base.lr` and `optimizer.after.0.factor`: numbers count the pieces of a place from 0.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optax
from flax import struct

from toylab.base import Optimizer, Params
from toylab.optim.pieces import KeepNorm, Piece


class Chain(struct.PyTreeNode):
    """An optimizer with pieces around it: `optax.chain(*before, base, *after)`."""

    base: Optimizer
    """An optimizer, as AdamW."""
    before: tuple[Piece, ...] = ()
    """Pieces that change the gradient: Orthogonal, SlowGradients, Clip, Penalty, in this order."""
    after: tuple[Piece, ...] = ()
    """Pieces that change the step: Scale, Grow, VectorDecay, RowPull, KeepNorm; this last, else the norm would not stay."""

    def check(self) -> "Chain":
        base = self.base
        sound = all(callable(getattr(base, name, None)) for name in ("check", "transform"))
        if not isinstance(base, struct.PyTreeNode) or isinstance(base, Piece) or not sound:
            raise ValueError(f"optimizer.base is {_kind(base)}: it must be an optimizer, as AdamW().")
        for place in ("before", "after"):
            if not isinstance(pieces := getattr(self, place), tuple):
                raise ValueError(
                    f"optimizer.{place} is {_kind(pieces)}: it must be a tuple of pieces, as (Clip(1.0),)."
                )
            for i, piece in enumerate(pieces):
                if not isinstance(piece, Piece):
                    raise ValueError(f"optimizer.{place}.{i} is {_kind(piece)}: it must be a piece, as Clip(1.0).")
                if place != piece.PLACE:
                    raise ValueError(f"optimizer.{place}.{i} is {_kind(piece)}: it goes into {piece.PLACE}.")
        kept = [i for i, piece in enumerate(self.after) if isinstance(piece, KeepNorm)]
        if kept and kept[0] < len(self.after) - 1:
            raise ValueError(f"optimizer.after.{kept[0]} is a KeepNorm: it must be the last, for the norm to stay.")
        for path, part in self._parts():
            with _within(path):
                part.check()
        return self

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Raises ValueError where a part names what is no param of the net."""
        for path, part in self._parts():
            if hasattr(part, "check_params"):
                with _within(path):
                    part.check_params(params)

    def check_start(self, params: Params) -> None:
        """Raises ValueError where a part cannot start from these params."""
        for path, part in self._parts():
            if hasattr(part, "check_start"):
                with _within(path):
                    part.check_start(params)

    def transform(self) -> optax.GradientTransformation:
        return optax.chain(*(part.transform() for part in (*self.before, self.base, *self.after)))

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield "base", self.base
        for place in ("before", "after"):
            for i, piece in enumerate(getattr(self, place)):
                yield f"{place}.{i}", piece


@contextmanager
def _within(path: str) -> Iterator[None]:
    """Puts the path of a part before the field that its message begins with."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"optimizer.{path}.{str(error).removeprefix('optimizer.')}") from None


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
