"""What a folder holds to be explored: a page's measures, its trajectory, a sweep, a group, what a Recorder wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from toylab import store
from toylab.explore.recording import Recording
from toylab.explore.recordings.archive import Archive
from toylab.explore.recordings.committed import MEASURES, Committed
from toylab.explore.recordings.lab_page import LabPage
from toylab.explore.recordings.trained import Trained
from toylab.records import manifest

NEAR = 6  # folders that a message names
GIVE = "give the folder of a page, as results/grokking, of a sweep, or of a group"


def open_folder(
    path: str | Path | Sequence[str | Path], *, page: str | ModuleType | None = None
) -> Mapping[str, Recording]:
    """What a folder holds, by part.

    Args:
        path: a page's folder, with its trajectory in runs/ or with measures.npz alone; a sweep's folder; that of a group or
            of a Recorder. Several of them stand side by side, by their names.
        page: the page that it is of: its module, or as `toylab run` takes it. Pages of toylab are known by the folder's
            manifest.json or name; a user's own is never imported because a folder names it.

    Returns:
        Recordings by the names of parts, in the order of the page; "" is the only part.

    Raises:
        ValueError: where the folder holds no runs and no measures; what it is, and what to give.
        StoreError: where measures.npz, and nothing else, is there and cannot be read.
    """
    if isinstance(path, str | Path):
        return _at(Path(path), page)
    paths = [Path(one) for one in path]
    if not paths or len({one.resolve() for one in paths}) < len(paths):
        raise ValueError(f"path is {[str(one) for one in paths]}: give folders, each once.")
    if len(paths) == 1:
        return _at(paths[0], page)
    names = [one.resolve().name for one in paths]
    names = [str(one) if names.count(name) > 1 else name for one, name in zip(paths, names, strict=True)]
    found: dict[str, Recording] = {}
    for one, name in zip(paths, names, strict=True):
        found |= {f"{name}: {part}" if part else name: held for part, held in _at(one, page).items()}
    return found


def _at(path: Path, given: str | ModuleType | None) -> Mapping[str, Recording]:
    try:
        return _opened(path, given)
    except OSError as error:
        number = error.errno or 0
        raise ValueError(f"{path} cannot be read ({store.first_line(error)}): {store.remedy(number)}.") from error


def _opened(path: Path, given: str | ModuleType | None) -> Mapping[str, Recording]:
    if not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise ValueError(f"{path} {what}: {GIVE}.")
    if path.resolve().name == "runs":
        path = path.resolve().parent if path.parent == Path() else path.parent
    page = LabPage(path, given)
    place = path / "runs" if (path / "runs").is_dir() else path
    if place == path and is_group(path):
        return {"": Trained(page, "", path, alone=True)}
    sweeps = sweeps_in(place)
    measured = parts_in(archive := _archive(path, bool(sweeps) or place != path))
    if not sweeps and not measured:
        if place == path:
            raise ValueError(_nothing(path))
        sweeps = {"": place}  # training has just begun
    page.opened = {*sweeps}
    found: dict[str, Recording] = {part: Trained(page, part, sweep) for part, sweep in sweeps.items()}
    if archive is not None:
        found |= {part: Committed(page, part, archive) for part in measured if part not in sweeps}
    return {part: found[part] for part in page.ordered(list(found))}


def _archive(path: Path, more: bool) -> Archive | None:
    """measures.npz of a page; None where there is none, or it is damaged and there is more to see."""
    if not (path / MEASURES).exists():
        return None
    try:
        return Archive(path / MEASURES)
    except store.StoreError:
        if more:
            return None
        raise


def is_group(folder: Path) -> bool:
    """Whether a folder is that of a group: a page's has a manifest.json too."""
    if store.chunks(folder):
        return True
    try:
        return "configs" in store.read_json(folder / "manifest.json")
    except store.StoreError:
        return False


def sweeps_in(place: Path) -> dict[str, Path]:
    """The sweeps of a folder by part: itself, or those in it. A sweep has groups, or an outline."""
    below = {one.name: one for one in sorted(place.iterdir()) if one.is_dir() and not manifest.NUMBERED.match(one.name)}
    return {name: one for name, one in {"": place, **below}.items() if is_sweep(one)}


def is_sweep(folder: Path) -> bool:
    """Whether it has groups that are begun, or says which it will have."""
    return (folder / manifest.SWEEP).exists() or bool(manifest.begun(folder))


def parts_in(archive: Archive | None) -> list[str]:
    """The parts that are measured: what stands before `steps`; "" for the only part."""
    if archive is None:
        return []
    found = [
        name.removesuffix("steps").removesuffix("/") for name in archive if name == "steps" or name.endswith("/steps")
    ]
    of_fields = {name for name in archive if "config/" in name}
    found = [part for part in found if (f"{part}/" if part else "") + "valid" in archive]
    return found or ([] if of_fields else [""])


def _nothing(path: Path) -> str:
    """What a folder is in which there is nothing to explore."""
    inside = sorted(one for one in path.iterdir() if one.is_dir())
    pages = [str(one) for one in inside if (one / MEASURES).exists() or (one / "runs").is_dir()]
    if pages:
        more = f" (there are {len(pages)})" if len(pages) > NEAR else ""
        return f"{path} is a folder of pages: give one or some of them, as {', '.join(pages[:NEAR])}{more}."
    return f"{path} is empty: {GIVE}." if not any(path.iterdir()) else f"{path} holds no runs and no measures: {GIVE}."
