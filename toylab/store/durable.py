"""Writing that a power cut does not undo. A name may reach the disk before the bytes that it names, so bytes are brought
there first, then the name takes its place, then the folder that has it is brought to the disk too."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # from file systems, or of folders, that cannot be synced


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_FOLDERS or not path.is_dir():
            raise


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """`write` makes a file beside `path`, which then takes its place: whole and on the disk, or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # of nobody else
    try:
        write(beside)
        sync(beside)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def rename(source: Path, target: Path) -> None:
    """Of what is on the disk already. Both folders have it as it is now before anything that relies on it is done."""
    os.rename(source, target)
    for folder in dict.fromkeys((target.parent, source.parent)):
        sync(folder)


def make(folder: Path) -> None:
    """A folder with its parents, if it is not there."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    for path in dict.fromkeys(
        (*reversed(missing), folder)
    ):  # it may be there, and not yet on the disk, by another process
        sync(path.parent)


def append(path: Path, text: str) -> None:
    """A line or more at the end of a file, in one write, so that those of several processes do not mix."""
    with path.open("a", encoding="utf-8") as file:
        is_new = not file.tell()
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)
