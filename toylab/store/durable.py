"""Writes that survive a power cut. A file system may store a file's name before its bytes. Therefore the bytes are synced
first, then the file is renamed to its place, then its folder is synced."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # of file systems and folders that cannot be synced


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
    """`write` makes a new file next to `path`, which is synced and then replaces it, completely or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # a name that nobody else uses
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
    """Renames what is synced already, and syncs both folders."""
    os.rename(source, target)
    for folder in dict.fromkeys((target.parent, source.parent)):
        sync(folder)


def make(folder: Path) -> None:
    """Makes a folder and its parents, if they do not exist, and syncs them."""
    missing = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    for path in dict.fromkeys((*reversed(missing), folder)):  # another process may have made it without syncing yet
        sync(path.parent)


def append(path: Path, text: str) -> None:
    """Appends lines in one write, so that those of several processes do not mix."""
    with path.open("a", encoding="utf-8") as file:
        is_new = not file.tell()
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)
