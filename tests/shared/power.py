"""What a power cut may leave of a folder: from the system calls of a real run (strace), every state of the disk that a cut
between two of them allows.

The model is what POSIX promises. A file's bytes are on the disk once it was synced: before, they may all be there, be
lost, or be zeros. A folder's entries (of what was made, renamed, removed) are on the disk once the folder was synced:
before, each folder may have them as they were at its last sync or as they are, whatever others have.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

CALLS = (
    "open openat creat dup dup2 dup3 write pwrite64 writev pwritev pwritev2 lseek truncate ftruncate rename renameat "
    "renameat2 unlink unlinkat rmdir mkdir mkdirat link linkat symlink symlinkat fsync fdatasync copy_file_range sendfile"
)
UNKNOWN = ("dup", "dup2", "dup3", "truncate", "link", "linkat", "symlink", "symlinkat", "copy_file_range", "sendfile")
LINE = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>)?(.*)")
CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?.*")
TEXT, PLACE = re.compile(r'"((?:\\x[0-9a-f]{2})*)"'), re.compile(r"(?:(\d+)|AT_FDCWD)<([^>]*)>")
BESIDE = re.compile(r"writing-.*|\..*")  # names of what is being written: whoever goes on looks at none of it


@cache
def can_record() -> bool:
    try:
        return subprocess.run(["strace", "-o", os.devnull, "true"], check=False).returncode == 0
    except OSError:
        return False


def recorded(command: list[str], trace: Path, **options: object) -> subprocess.Popen[str]:
    """The command, under strace."""
    strace = [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "100000000",
        "-o",
        str(trace),
        "-e",
        f"trace={CALLS.replace(' ', ',')}",
    ]
    return subprocess.Popen([*strace, *command], **options)


def calls(trace: Path) -> Iterator[tuple[str, str, int, str]]:
    """Name, arguments, result and the path it has, of each call that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        process, text = LINE.fullmatch(line).groups()
        if text.endswith(" <unfinished ...>"):
            begun[process] = text.removesuffix(" <unfinished ...>")
        elif found := CALL.fullmatch(begun.pop(process, "") + text if "resumed>" in line else text):
            name, arguments, result, path = found.groups()
            if int(result) >= 0:
                yield name, arguments, int(result), _plain(path or "").decode()


def printed(call: tuple[str, str, int, str]) -> str:
    """What a call has written to the standard output."""
    name, arguments, *_ = call
    return (
        b"".join(map(_plain, TEXT.findall(arguments))).decode()
        if name == "write" and arguments.startswith("1<")
        else ""
    )


def _plain(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())


@dataclass(eq=False)
class Node:
    """A file (`entries` is None) or a folder, as it is and as it was at its last sync."""

    entries: dict[str, "Node"] | None = None
    synced_entries: dict[str, "Node"] = field(default_factory=dict)
    content: bytes = b""
    synced: bytes | None = None

    @property
    def is_pending(self) -> bool:
        return self.entries is not None and self.entries != self.synced_entries


State = tuple[tuple[str, bytes | None], ...]  # relative path → content, None of a folder; parents first


class Disk:
    """A folder, empty and on the disk at first, through the calls of a run."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = str(root), Node(entries={})
        self.open: dict[int, tuple[Node, int | None]] = {}  # where the next write goes; None: to the end
        self.folders = [self.top]

    def apply(self, name: str, arguments: str, result: int, path: str) -> bool:
        """Whether something that has a name of its own changed, so that there are new states to look at."""
        places = [(fd, _plain(place).decode()) for fd, place in PLACE.findall(arguments)]
        texts = [_plain(text) for text in TEXT.findall(arguments)]
        paths = [text.decode() for text in texts] if "write" not in name else []
        folders = [place for _, place in places] + [""] * len(paths)
        inside = [os.path.join(folder, text) for folder, text in zip(folders, paths, strict=False)]
        handle = int(places[0][0]) if places and places[0][0] else -1
        if name in UNKNOWN and any(within.startswith(self.root) for within in [*inside, *(p for _, p in places)]):
            raise NotImplementedError(f"{name}({arguments[:200]})")
        if name in ("open", "openat", "creat"):
            touched = [path]
            self._opened(path, arguments, result)
        elif self._is_inside(places) and name not in ("unlinkat", "mkdirat", "renameat", "renameat2"):
            touched = [places[0][1]]
            self._written(name, handle, texts, arguments, result)
        else:
            touched = [within for within in inside if self._parent(within)]
            if touched:
                self._named(name, inside)
        names = [one[len(self.root) :].split("/")[1:] for one in touched if one.startswith(f"{self.root}/")]
        return any(not any(BESIDE.fullmatch(part) for part in parts) for parts in names) or touched == [self.root]

    def _is_inside(self, places: list[tuple[str, str]]) -> bool:
        """Whether a call is on an open file of the folder; its number may by now be that of another file."""
        return bool(places and places[0][0]) and f"{places[0][1]}/".startswith(f"{self.root}/")

    def _parent(self, path: str) -> Node | None:
        """The folder that has the path's last name; None outside of what is looked at."""
        if not path.startswith(f"{self.root}/"):
            return None
        node = self.top
        for part in path[len(self.root) + 1 :].split("/")[:-1]:
            node = node.entries[part]
        return node

    def _opened(self, path: str, arguments: str, handle: int) -> None:
        self.open.pop(handle, None)
        parent, name = self._parent(path), os.path.basename(path)
        if parent is None:
            if path == self.root:
                self.open[handle] = (self.top, 0)
            return
        if name not in parent.entries and "O_CREAT" in arguments:
            parent.entries[name] = Node()
        node = parent.entries[name]
        if "O_TRUNC" in arguments:
            node.content = b""
        self.open[handle] = (node, None if "O_APPEND" in arguments else 0)

    def _written(self, name: str, handle: int, texts: list[bytes], arguments: str, result: int) -> None:
        if name == "lseek" and handle not in self.open:  # of a folder that is listed
            return
        node, at = self.open[handle]
        if name in ("fsync", "fdatasync"):
            if node.entries is None:
                node.synced = node.content
            else:
                node.synced_entries = dict(node.entries)
        elif name == "lseek":
            self.open[handle] = (node, at if at is None else result)
        elif name == "ftruncate":
            node.content = node.content[: int(arguments.rpartition(", ")[2])]
        elif "write" in name:
            data = b"".join(texts)[:result]
            where = int(arguments.split(", ")[-1]) if name.startswith("pwrite") else at
            where = len(node.content) if where is None else where
            node.content = node.content[:where].ljust(where, b"\0") + data + node.content[where + len(data) :]
            if not name.startswith("pwrite") and at is not None:
                self.open[handle] = (node, where + len(data))

    def _named(self, name: str, paths: list[str]) -> None:
        parent, last = self._parent(paths[0]), os.path.basename(paths[0])
        if name.startswith("mkdir"):
            parent.entries[last] = Node(entries={})
            self.folders.append(parent.entries[last])
        elif name.startswith("rename"):
            self._parent(paths[1]).entries[os.path.basename(paths[1])] = parent.entries.pop(last)
        elif name in ("unlink", "unlinkat", "rmdir"):
            parent.entries.pop(last)

    def states(self) -> Iterator[State]:
        """What a cut now may leave."""
        pending = {id(folder) for folder in self.folders if folder.is_pending}
        for as_they_were in (set(), pending, *({one} for one in pending), *(pending - {one} for one in pending)):
            for data in ("kept", "lost", "zeros") if not as_they_were else ("lost",):
                yield tuple(_left(self.top, "", as_they_were, data))


def _left(folder: Node, place: str, as_they_were: set[int], data: str) -> Iterator[tuple[str, bytes | None]]:
    entries = folder.synced_entries if id(folder) in as_they_were else folder.entries
    for name, node in sorted(entries.items()):
        path = f"{place}{name}"
        if node.entries is not None:
            yield path, None
            yield from _left(node, f"{path}/", as_they_were, data)
        elif data == "kept" or node.synced == node.content:
            yield path, node.content
        else:
            yield path, bytes(len(node.content)) if data == "zeros" else node.synced or b""


def seen(state: State) -> int:
    """The same of two states between which whoever goes on sees no difference."""
    return hash(tuple(one for one in state if not any(BESIDE.fullmatch(part) for part in one[0].split("/"))))


def build(state: State, folder: Path) -> None:
    folder.mkdir()
    for path, content in state:
        (folder / path).mkdir() if content is None else (folder / path).write_bytes(content)
