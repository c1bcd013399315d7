"""The figures of a page, served by number."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from tornado.web import RequestHandler

from toylab.explore.recording import Recording

KINDS = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def figure_files(parts: Mapping[str, Recording], folder: Path | None) -> list[Path | None]:
    """The files of all figures, by number, part after part; None for a name that leads out of the folder."""
    names = [name for recording in parts.values() for name in recording.figures.values()]
    return [folder / name if folder and Path(name).name == name else None for name in names]


class Figure(RequestHandler):
    """A figure of the page, by its number among `figure_files`. No path is taken from the address."""

    def initialize(self, files: Callable[[], Sequence[Path | None]]) -> None:
        self.files = files

    def get(self, number: str) -> None:
        file = dict(enumerate(self.files())).get(int(number))
        content = None
        if file and file.suffix in KINDS:
            with contextlib.suppress(OSError):
                content = file.read_bytes()
        if content is None:
            self.set_status(404)
            self.finish("There is no such figure.\n")
            return
        self.set_header("Content-Type", KINDS[cast(Path, file).suffix])
        self.finish(content)
