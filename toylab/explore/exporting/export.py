"""One HTML file that shows a recording without a server or a network: BokehJS, the page, frames of some saved points."""

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.core.json_encoder import serialize_json
from bokeh.core.templates import FILE, MACROS
from bokeh.document import Document
from bokeh.embed.util import standalone_docs_json_and_render_items
from bokeh.models import CustomJS, Div, Tabs
from bokeh.settings import settings

from toylab import store
from toylab.explore.declaring import View
from toylab.explore.exporting import packing
from toylab.explore.page.page import Page
from toylab.explore.plots.drawing import Data
from toylab.explore.recording import Recording
from toylab.explore.serving.guard import COMPONENTS

ELSE = ", so their frames cannot share their plots: export each to a file of its own."
AT_ONCE = 3  # views that are seen when a file is opened
SOON = 200  # milliseconds until the others are made
LARGE = 25_000_000  # bytes of a file that is told to be large
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'"
)


def write(path: Path, recording: Recording, views: Sequence[View], **chosen: Any) -> int:
    """Writes the file, completely or not at all; the number of its bytes.

    Args:
        path: of the file.
        recording, views, chosen: as of `page_of`.

    Raises:
        ValueError: as of `page_of`.
        OSError: where it cannot be written.
    """
    text = page_of(recording, views, **chosen)
    store.write_text(path, text)
    return len(text.encode())


def page_of(
    recording: Recording,
    views: Sequence[View],
    *,
    points: int = 40,
    runs: Sequence[int] | None = None,
    report: Callable[[str], None] = lambda said: None,
) -> str:
    """The HTML of a recording. What is picked by the reader is answered by JavaScript alone.

    Args:
        recording: what is shown.
        views: the views to show, where they fit the run.
        points: how many saved points of each run have frames: evenly by their number, the first and last among them.
        runs: whose frames there are, by number; None: those of the first.
        report: called with a line for each run before its frames are made.

    Raises:
        ValueError: where `points` is less than 1, there is no such run, or the runs' views cannot share their plots.
    """
    if points < 1:
        raise ValueError(f"points is {points}: it must be at least 1.")
    if not len(recording.runs):
        raise ValueError(" ".join([f"{recording.title} has no runs that could be exported.", *recording.messages]))
    page = Page({"": recording}, views, live=False)
    numbers = list(runs) if runs else [page.run]
    check_alike(recording, numbers)
    records: list[dict[str, Any]] = []
    contents: list[bytes] = []
    shared: list[int] | None = None
    for run in numbers:
        page.look(run)
        report(f"{recording.runs[run]}: {', '.join(page.panels) or 'no views'}")
        sources = [source for panel in page.panels.values() for source in panel.sources]
        if shared is not None and list(map(id, sources)) != shared:
            raise ValueError(f"{apart(recording, numbers[0], run)} draw other plots{ELSE}")
        shared = list(map(id, sources))
        at, made = frames_of(page, chosen_points(recording.valid[run], points), report)
        columns, content = packing.packed(made, keep_constant=len(numbers) > 1) if made else ([], b"")
        records.append({"run": run, "name": str(recording.runs[run]), "points": at, "columns": columns})
        contents.append(content)
    page.look(numbers[0])
    if records[0]["points"]:
        page.show(records[0]["points"][-1])
    doc = Document()
    with_frames(page, doc)
    return html(page, doc, packing.block(records, contents))


def frames_of(page: Page, at: np.ndarray, report: Callable[[str], None]) -> tuple[list[int], list[list[Data]]]:
    """The points of which every view can be drawn, and what the sources hold at each. What cannot be is reported."""
    held = [sorted(source.data) for panel in page.panels.values() for source in panel.sources]
    points, made = [], []
    for point in map(int, at if page.panels else ()):
        try:
            frame = [data for name in page.panels for data in page.data(name, point)]
        except (ValueError, LookupError) as error:
            report(f"step {page.recording.steps[point]} is left out: {error}")
            continue
        if [sorted(data) for data in frame] != held:
            report(f"step {page.recording.steps[point]} is left out: its plots are others than the last step's.")
            continue
        points.append(point)
        made.append(frame)
    return points, made


def check_alike(recording: Recording, runs: Sequence[int]) -> None:
    """ValueError for a run that is not there, or runs whose params have other shapes than the first's."""
    if wrong := [run for run in runs if not 0 <= run < len(recording.runs)]:
        raise ValueError(f"runs has {wrong[0]}: there are 0 to {len(recording.runs) - 1}.")
    if len(set(runs)) < len(runs):
        raise ValueError("runs has a run twice: give each once.")
    first = dict(recording.shapes[runs[0]])
    for run in runs[1:]:
        if dict(recording.shapes[run]) != first:
            raise ValueError(f"{apart(recording, runs[0], run)} have params of other shapes{ELSE}")


def apart(recording: Recording, one: int, other: int) -> str:
    """Two runs, by name."""
    return f"{recording.runs[one]} and {recording.runs[other]}"


def chosen_points(valid: np.ndarray, n: int) -> np.ndarray:
    """[≤ n]: numbers of a run's saved points, evenly by their place, the first and last among them; of one the last."""
    own = np.flatnonzero(valid)
    return own[-1:] if n == 1 else own[np.rint(np.linspace(0, len(own) - 1, min(n, len(own)))).astype(int)]


def with_frames(page: Page, doc: Document) -> None:
    """Puts the page into a document, and ties the frames to its slider and to its choice of the run."""
    note = Div(text="", sizing_mode="stretch_width", visible=False)
    views: Any = page.roots["views"]
    views.children = [note, *views.children]
    sources = [source for panel in page.panels.values() for source in panel.sources]
    arguments = {"slider": page.slider, "run": page.run_select, "sources": sources, "note": note}
    shown = CustomJS(args=arguments, code="window.toylab.show(slider, run, sources, note)")
    page.slider.js_on_change("value", shown)
    page.run_select.js_on_change("value", shown)
    page.add_to(doc)
    tabs = views.select_one({"type": Tabs})
    if tabs is not None and tabs.tabs:  # what is seen first is drawn at once, which halves the time to open
        first: Any = tabs.tabs[0].child
        arguments = {"tabs": tabs, "all": list(tabs.tabs), "first": first, "views": list(first.children)}
        code = (
            f"setTimeout(() => {{ first.children = views; setTimeout(() => {{ tabs.tabs = all }}, {SOON}) }}, {SOON})"
        )
        tabs.tabs, first.children = tabs.tabs[:1], first.children[:AT_ONCE]
        doc.js_on_event("document_ready", CustomJS(args=arguments, code=code))


def html(page: Page, doc: Document, block: bytes) -> str:
    """The file: the page's own template, with what it needs compressed inside."""
    docs, items = standalone_docs_json_and_render_items(doc, suppress_callback_warning=True)
    record = json.dumps({"docs": None, "items": [item.to_json() for item in items]})
    whole = record.replace('{"docs": null', '{"docs": ' + serialize_json(docs), 1)
    inside = {
        "toylab-bokeh": compressed(bokeh_js().encode()),
        "toylab-page": compressed(whole.encode()),
        "toylab-frames": block,
    }
    kept = "\n".join(
        f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>'
        for name, content in inside.items()
    )
    opening = (Path(__file__).parent / "export.js").read_text("utf-8")
    return doc.template.render(
        title=page.title,
        bokeh_js="",
        bokeh_css=f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        plot_script=f"{kept}\n<script>{opening}</script>",
        docs=items,
        doc=items[0],
        roots=items[0].roots,
        base=FILE,
        macros=MACROS,
        **doc.template_variables,
    )


def compressed(content: bytes) -> bytes:
    """gzip, the same for the same bytes."""
    return gzip.compress(content, 9, mtime=0)


def bokeh_js() -> str:
    """BokehJS as it stands in the installed package, with its licence."""
    folder = Path(settings.bokehjs_path()) / "js"
    return "\n;\n".join((folder / f"{name}.min.js").read_text("utf-8") for name in COMPONENTS)
