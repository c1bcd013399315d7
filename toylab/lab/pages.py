"""Where lab pages are found: those of toylab.experiments by name, each in the folder of its family."""

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
    """The module of a page that comes with toylab. KeyError where there is none of that name."""
    return importlib.import_module(f"{PACKAGE}.{built_in()[name].parent.name}.{name}")
