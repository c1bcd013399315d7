"""The explorer in a notebook, Jupyter's or marimo's: a frame with the page of a server in this process, or, where the
notebook's browser is on another machine, with an exported file."""

import html
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toylab.explore.declaring import View
from toylab.explore.recording import Recording
from toylab.explore.recordings.given import of_arrays
from toylab.explore.recordings.loaded import of_sweep
from toylab.explore.recordings.opening import open_folder
from toylab.explore.serving import needed
from toylab.records.reader import Sweep, load

ELSEWHERE = (
    "JUPYTERHUB_SERVICE_PREFIX",
    "COLAB_RELEASE_TAG",
    "KAGGLE_KERNEL_RUN_TYPE",
    "BINDER_SERVICE_HOST",
    "CODESPACES",
)
HEIGHT = 900  # pixels of the frame


def show(
    folder: str | Path | None = None,
    *,
    views: Sequence[View] = (),
    height: int = HEIGHT,
    remote: bool | None = None,
    points: int = 40,
    **given: Any,
) -> "Shown":
    """Shows a sweep, or arrays of your own, in a notebook: the value of a cell.

    Args:
        folder: a page's folder, or a sweep's. None where arrays are given.
        views: views of your own, as `view` makes them, after the lab's.
        height: of the frame, in pixels.
        remote: whether the browser is on another machine than this process, so that the frame has an exported page; None:
            as the environment says (JupyterHub, Colab, Kaggle, Binder, Codespaces).
        points: saved points of an exported page.
        **given: arrays, as of `toylab.explore.recordings.opening.of_arrays`: `params`, `steps` and more.

    Returns:
        An object that notebooks show. `url` is its address, `stop()` ends its server.

    Raises:
        ValueError: where there is nothing to be shown, or the extra is missing.
    """
    if (folder is None) == (not given):
        raise ValueError("give a folder, or arrays (params=…, steps=…).")
    parts = {"": of_arrays(**given)} if folder is None else open_folder(Path(folder))
    return shown(parts, views, None if folder is None else Path(folder), height=height, remote=remote, points=points)


def shown(
    parts: Mapping[str, Recording],
    views: Sequence[View] = (),
    folder: Path | None = None,
    *,
    height: int = HEIGHT,
    remote: bool | None = None,
    points: int = 40,
) -> "Shown":
    """As `show`, of recordings by part."""
    needed.check()
    from toylab.explore.views import built_in

    every = [*built_in(), *views]
    if remote is None:
        remote = "google.colab" in sys.modules or any(name in os.environ for name in ELSEWHERE)
    if remote:
        from toylab.explore.exporting import export

        return Shown(height, page=export.page_of(next(iter(parts.values())), every, points=points))
    from toylab.explore.serving.server import Server

    server = Server(parts, every, figures=folder and folder / "figures", in_notebooks=True)
    server.start()
    return Shown(height, server=server)


def show_sweep(sweep: Sweep, **options: Any) -> "Shown":
    """As `show`, of what `load` gave: where it has all runs of its folders the page that they are of, else its runs."""
    folders = dict.fromkeys(Path(source.folder).parent for source in sweep.sources if hasattr(source, "folder"))
    if not folders or len(sweep) != sum(len(load(folder)) for folder in folders):
        return shown({"": of_sweep(sweep)}, **options)
    pages = dict.fromkeys(map(page_of, folders))
    only = next(iter(pages)) if len(pages) == 1 else None
    return shown(open_folder(list(pages)), folder=only, **options)


def page_of(sweep: Path) -> Path:
    """The page's folder, where the sweep's lies in its runs/; else the sweep's own."""
    return next((above.parent for above in (sweep, *sweep.parents[:1]) if above.name == "runs"), sweep)


class Shown:
    """What a notebook shows: a frame."""

    def __init__(self, height: int, *, server: Any = None, page: str = "") -> None:
        self.height, self.server, self.page = height, server, page

    @property
    def url(self) -> str:
        """The address of the page; "" where it is an exported one."""
        return self.server.url if self.server else ""

    def stop(self) -> None:
        """Ends the server."""
        if self.server:
            self.server.stop()

    def _repr_html_(self) -> str:
        style = f'style="width: 100%; height: {self.height}px; border: 0" title="toylab explore"'
        if self.server:
            return f'<iframe src="{html.escape(self.url)}" {style}></iframe>'
        return f'<iframe srcdoc="{html.escape(self.page)}" sandbox="allow-scripts" {style}></iframe>'

    def __repr__(self) -> str:
        return (
            f"<the explorer at {self.url}>" if self.server else f"<an explorer's page of {len(self.page)} characters>"
        )
