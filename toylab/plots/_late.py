"""Modules that are loaded when they are first used, not when a page names them.

matplotlib takes half a second to import. A training starts that much sooner.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lazy_loader

Attached = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def attach(package: str, file: str, families: Sequence[str] = ()) -> Attached:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names are modules: its own, or those of its families.

    Args:
        package: its `__name__`.
        file: its `__file__`, beside which a stub lists the names.
        families: its packages, which are imported at once.
    """
    at_once, listed, names = lazy_loader.attach_stub(package, file)
    folders = {package: Path(file).parent, **{f"{package}.{one}": Path(file).parent / one for one in families}}

    def module(name: str) -> Any:
        if name not in names or name in families:
            return at_once(name)
        home = next(home for home, folder in folders.items() if (folder / f"{name}.py").is_file())
        found = lazy_loader.load(f"{home}.{name}", suppress_warning=True)
        setattr(sys.modules[package], name, found)  # as an import does
        return found

    return module, listed, names
