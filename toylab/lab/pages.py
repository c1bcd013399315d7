"""Where lab pages are found: those of toylab.experiments by name, a user's own by the path of a file or as a module."""

import contextlib
import difflib
import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType

PACKAGE = "toylab.experiments"


@dataclass(frozen=True)
class Place:
    """Where a page lies. Nothing of it is imported yet."""

    module: str  # by which it is imported
    file: Path
    root: Path | None  # the folder to be put first on sys.path; None for a built-in page


class Raised(ValueError):
    """A page raised while it was imported. `trace` is its own traceback."""

    def __init__(self, place: Place, error: BaseException) -> None:
        super().__init__(f"the page {place.file} raised while it was imported: mend it, then run the same again.")
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename.startswith((__file__, "<frozen importlib", util.__file__)):
            frames = frames.tb_next
        self.trace = "".join(traceback.format_exception(type(error), error, frames))


def built_in() -> dict[str, Path]:
    """name → file of the pages that come with toylab, by family, then by name. No page is imported."""
    folders = importlib.import_module(PACKAGE).__path__
    files = sorted(path for folder in folders for path in Path(folder).glob("*/*.py") if path.stem != "__init__")
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise ValueError(f"two pages are named {path.stem}: {found[path.stem]} and {path}; rename one of them.")
        found[path.stem] = path
    return found


def find(name: str) -> Place:
    """Where a page lies.

    Args:
        name: a built-in page's name; the path of a .py file; or a module, as my_package.pages.my_page.

    Raises:
        ValueError: where there is none, or more than one; one sentence.
    """
    if name.endswith(".py") or "/" in name or os.sep in name:
        return _of_file(name)
    if "." in name:
        return _of_module(name)
    known, here = built_in(), Path(f"{name}.py")
    if name in known:
        if here.is_file() and here.resolve() != known[name].resolve():
            raise ValueError(
                f"two pages are named {name}: the built-in one and the file {here}; say ./{here} or "
                f"{own_name(known[name])}."
            )
        return Place(own_name(known[name]), known[name], None)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"`toylab list` names the {len(known)} that there are."
    if name.isidentifier() and here.is_file():
        hint = f"did you mean the file ./{here}?"
    raise ValueError(f"experiment {name!r} is not known: {hint}")


def load(name: str) -> ModuleType:
    """The module of a page.

    Args:
        name: as in `find`. The folder of a user's page, or the folder that holds its package, is put first on sys.path.

    Raises:
        Raised: where the page itself raises.
        ValueError: where it cannot be found, in one sentence.
    """
    place = find(name)
    if place.root and sys.path[:1] != [str(place.root)]:
        sys.path.insert(0, str(place.root))
        importlib.invalidate_caches()
    from toylab.checking import fit_later  # which imports JAX; a listing of pages does not need it

    trying = contextlib.nullcontext() if place.root else fit_later()
    try:
        with trying:
            module = importlib.import_module(place.module)
    except (Exception, SystemExit) as error:
        raise Raised(place, error) from error
    file = getattr(module, "__file__", None)
    if file is None or Path(file).resolve() != place.file.resolve():
        raise ValueError(f"{place.file} is not what `import {place.module}` gives, which is {file}: rename the page.")
    return module


def sources(page: ModuleType) -> dict[Path, list[Path]]:
    """What another process needs to import a user's page: {folder for sys.path: files imported from it so far}; {} for a
    built-in page."""
    file = getattr(page, "__file__", None)
    if file is None or page.__name__.startswith(f"{PACKAGE}."):
        return {}
    root = Path(file).resolve().parents[page.__name__.count(".")]
    top = page.__name__.partition(".")[0]
    found = set()
    for name, module in list(sys.modules.items()):
        where = Path(getattr(module, "__file__", None) or os.devnull).resolve()
        if where.is_relative_to(root) and (name.partition(".")[0] == top or "site-packages" not in where.parts):
            found.add(where)
    return {root: sorted(found)}


def own_name(file: Path) -> str:
    """The module of a built-in page, by its file."""
    return f"{PACKAGE}.{file.parent.name}.{file.stem}"


def _place(module: str, file: Path, root: Path) -> Place:
    """A built-in page, if the file is one of theirs."""
    if any(file.resolve() == known.resolve() for known in built_in().values()):
        return Place(own_name(file.resolve()), file, None)
    return Place(module, file, root)


def _of_file(name: str) -> Place:
    file = Path(os.path.expanduser(name)).absolute()
    if file.is_dir():
        raise ValueError(f"{name} is a folder: give the file of a page in it, as {Path(name) / 'my_page.py'}.")
    if not file.is_file():
        raise ValueError(f"there is no file {name}: give the path of a page, or the name of a built-in one.")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ValueError(f"{name} cannot be imported: a page is a file with a name as my_page.py.")
    file = file.resolve()
    root, module = file.parent, file.stem
    while (root / "__init__.py").is_file():
        root, module = root.parent, f"{root.name}.{module}"
    return _place(module, file, root)


def _of_module(name: str) -> Place:
    """A module, found without importing it or the packages that it lies in."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"experiment is {name!r}: give a name, the path of a file, or a module as my_package.my_page.")
    if name.startswith(f"{PACKAGE}.") and parts[-1] in (known := built_in()) and own_name(known[parts[-1]]) == name:
        return Place(name, known[parts[-1]], None)
    folders = [Path(folder, parts[0]) for folder in [os.getcwd(), *sys.path]]
    installed = util.find_spec(parts[0])  # as editable installs make it known; imports nothing
    folders += [Path(folder) for folder in (installed and installed.submodule_search_locations) or ()]
    files = [folder.joinpath(*parts[1:-1], f"{parts[-1]}.py") for folder in folders]
    file = next((file.resolve() for file in files if file.is_file()), None)
    if file is None:
        raise ValueError(
            f"there is no module {name} in {os.getcwd()} or where Python looks for packages: give the path of its file."
        )
    return _place(name, file, file.parents[len(parts) - 1])
