"""Where lab pages are found: those of toylab.experiments by name, each in the folder of its family."""

import difflib
import importlib
from pathlib import Path
from types import ModuleType

PACKAGE = "toylab.experiments"


def built_in() -> dict[str, Path]:
    """name → file of the pages that come with toylab, by family, then by name. No page is imported."""
    folders = importlib.import_module(PACKAGE).__path__
    files = sorted(path for folder in folders for path in Path(folder).glob("*/*.py") if path.stem != "__init__")
    return {path.stem: path for path in files}


def load(name: str) -> ModuleType:
    """The module of a page that comes with toylab. ValueError where there is none of that name."""
    if name not in (known := built_in()):
        if "/" in name or ".." in name:
            raise ValueError(f"experiment is {name!r}: a name has no slash and no '..' in it.")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise ValueError(f"experiment {name!r} is not known: {hint}")
    return importlib.import_module(f"{PACKAGE}.{known[name].parent.name}.{name}")
