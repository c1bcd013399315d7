"""Names of params in the fields of optimizers, checked by themselves and against the net."""

import difflib
from collections.abc import Mapping
from typing import Any


def check_names(field: str, names: Any, least: int = 0) -> None:
    """Raises ValueError unless `names` is a tuple of at least `least` texts; `field` names them in the message."""
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{field} is {names!r}: it must be a tuple of names of params, as ('W_E',).")
    if len(names) < least:
        raise ValueError(f"{field} is {names!r}: it must name at least {least} param of the net.")


def check_known(field: str, names: tuple[str, ...], params: Mapping[str, Any]) -> None:
    """Raises ValueError where one of `names` is no param; `field` names them in the message."""
    for name in names:
        if name not in params:
            near = difflib.get_close_matches(name, params, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(params)}."
            raise ValueError(f"{field} has {name!r}, which is no param of the net: {hint}")
