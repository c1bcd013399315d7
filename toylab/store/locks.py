"""Folders: whether one can be made, and who holds it.

The library `filelock` is not used: it cannot tell whether a lock is held without creating the file and taking the lock, and
where the operating system has no locks it leaves a marker that outlives a killed process."""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from toylab.store import durable
from toylab.store.errors import Damaged, Gone, InUse, Lost, Refused, StoreError, first_line, remedy, size
from toylab.store.files import open_file, read_json, write_json
from toylab.store.names import check_name

OWNER = "owner.json"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Holds the folder for this process; InUse if another has it. Yields `mine`, which raises Lost once another has taken
    the folder over, and Gone once it lies elsewhere.

    The lock is the operating system's and falls with the process, however it dies. Not every network file system keeps
    locks between machines: there the owner file decides, the last to write it has the folder, and one that was taken for
    dead finds out before it commits.
    """
    token = secrets.token_hex(8)
    with _opened(folder / "lock") as file:
        if not _taken(file):
            raise InUse(f"{folder} is in use by {owner(folder)}: wait for it or choose another --out.")
        since, place = time.strftime("%Y-%m-%dT%H:%M:%S%z"), _place(folder)
        write_json(folder / OWNER, {"host": os.uname().nodename, "pid": os.getpid(), "token": token, "since": since})

        def mine() -> None:
            if _place(folder) != place:
                raise Gone(
                    f"{folder} was renamed, deleted or unmounted while it was written to: what was committed lies where it "
                    "is now. Put it back, and run the same command again: it goes on from there."
                )
            try:
                found = read_json(folder / OWNER).get("token")
            except Damaged:
                found = None
            if found != token:
                raise Lost(f"{folder} was taken over by {owner(folder)}: this process writes nothing more to it.")

        yield mine


def _opened(path: Path) -> IO[bytes]:
    """The lock's file, made if it is not there. Anything else in its place is not waited for."""
    try:
        return open_file(
            path, os.O_RDWR | os.O_CREAT
        )  # a network file system locks for itself alone what may be written
    except (ValueError, IsADirectoryError) as error:
        raise Refused(f"{path} is in the way of the lock ({first_line(error)}): remove it.") from None
    except OSError as error:
        raise StoreError(
            f"{path.parent} cannot be locked ({error.strerror}): nothing was touched. To go on, "
            f"{remedy(error.errno or 0)} and run the same command again."
        ) from error


def _place(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another of its name; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _taken(file: IO[bytes]) -> bool:
    """Takes the lock, in several tries: `is_locked` may be looking at it."""
    for pause in (0.0, 0.05, 0.2):
        time.sleep(pause)
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def owner(folder: Path, since: bool = False) -> str:
    """Who holds a folder, or held it last, in words."""
    try:
        found = read_json(folder / OWNER)
    except StoreError:
        return "another process"
    pid, host, at = (found.get(name) for name in ("pid", "host", "since"))
    if type(pid) is not int or not _is_word(host):
        return "another process"
    return f"process {pid} on {host}" + (f" since {at}" if since and _is_word(at) else "")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) < 256


def is_locked(folder: Path) -> bool:
    """Whether a process of this machine (or of one that shares locks with it) holds the folder; creates nothing."""
    try:
        with open_file(folder / "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return False
    return False


def check_folder(folder: Path, needed: int) -> Path:
    """The part of a folder's path that exists already; Refused unless it can be written and holds `needed` bytes."""
    check_name(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.exists():
        raise Refused(f"--out leads to {existing}, which is a link to nowhere: give a folder.")
    if not existing.is_dir():
        raise Refused(f"--out leads to {existing}, which is a file: give a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise Refused(f"--out leads to {existing}, which is not writable: give a folder that is.")
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise Refused(
            f"--out leads to {existing}, which has {size(free)} free: this sweep needs {size(needed)}; "
            "save fewer points or give another folder."
        )
    return existing


def make_folder(folder: Path, needed: int) -> None:
    """Creates the folder, after a look at whether it can be written and holds `needed` bytes; else StoreError, nothing
    created."""
    check_folder(folder, needed)
    try:
        durable.make(folder)
    except OSError as error:
        raise Refused(f"--out leads to {folder}, which cannot be made ({first_line(error)}): give another.") from None
