"""What can go wrong on disk, each kind with a message for the person who reads it."""

import errno
import re


class StoreError(Exception):
    """What is wrong on disk, what is safe and what to type, for the person who reads it."""


class Refused(StoreError):
    """What was asked cannot be done as asked; nothing was touched."""


class InUse(Refused):
    """Another process that is alive holds the folder."""


class Lost(StoreError):
    """The folder was taken over by another process: this one writes nothing more."""


class Gone(StoreError):
    """The folder was renamed, deleted or unmounted while this process held it."""


class Damaged(StoreError):
    """A file or chunk whose content is not what was written."""


class Unread(StoreError):
    """A file or chunk that cannot be read now, which says nothing of its content."""


NOT_NOW = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EIO)
REMEDIES = {  # of an error of the system, by its number
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV), "see to the disk, or the connection to it"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give yourself the right to write there"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "put back the folder, or what of it was deleted"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.EROFS: "mount its file system for writing",
    errno.ENAMETOOLONG: "move it to where its path is shorter",
}
IN_WORDS = re.compile(r"os_error_code='(\d+)'")  # so tensorstore


def system_number(error: BaseException | None) -> int | None:
    """The number of the system's error beneath an error, whatever kind Orbax and tensorstore make of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if found := IN_WORDS.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def remedy(number: int) -> str:
    return REMEDIES.get(number, "mend that")


def is_unread(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in NOT_NOW


def newer(path: object, schema: object, known: int) -> Refused:
    """The refusal of what a later version has written."""
    return Refused(
        f"{path} was written by a newer toylab (schema {schema}, this one reads up to {known}): upgrade toylab."
    )


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
