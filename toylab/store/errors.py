"""The errors of the store, and the words for them."""

import errno
import re


class StoreError(Exception):
    """Something is wrong on disk. The message says what is safe and what to type."""


class Refused(StoreError):
    """The request cannot be met. Nothing was changed."""


class InUse(Refused):
    """Another running process holds the folder."""


class Lost(StoreError):
    """Another process has taken over the folder. This one writes nothing more."""


class Gone(StoreError):
    """The folder was renamed, deleted or unmounted while this process held it."""


class Damaged(StoreError):
    """The content of a file or chunk is not what was written."""


class Unread(StoreError):
    """A file or chunk cannot be read now. Its content may be fine."""


NOT_NOW = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.EIO)
REMEDIES = {  # by the error number of the system
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV), "see to the disk, or the connection to it"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give yourself the right to write there"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ESTALE), "put back the folder, or what of it was deleted"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.EROFS: "mount its file system for writing",
    errno.ENAMETOOLONG: "move it to where its path is shorter",
}
IN_WORDS = re.compile(r"os_error_code='(\d+)'")  # in errors of tensorstore


def system_number(error: BaseException | None) -> int | None:
    """The system's error number (errno) that caused an error, also within those of Orbax and tensorstore; else None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error.errno
        if found := IN_WORDS.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def remedy(number: int) -> str:
    """What to do about a system's error."""
    return REMEDIES.get(number, "mend that")


def is_unread(error: BaseException) -> bool:
    """Whether an error says nothing about the content of the file, as missing rights do."""
    return isinstance(error, OSError) and error.errno in NOT_NOW


def newer(path: object, schema: object, known: int) -> Refused:
    """The error for a file that a newer version of toylab wrote."""
    return Refused(
        f"{path} was written by a newer toylab (schema {schema}, this one reads up to {known}): upgrade toylab."
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def size(n_bytes: float) -> str:
    """A number of bytes in words, as 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
