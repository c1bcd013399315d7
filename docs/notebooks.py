"""Notebooks are scripts (jupytext, py:percent). A page of the site is the script with what its cells print and draw.

A cell's output is what it prints, and the image that it ends with: `style.save(…)` gives the path of a picture. Executed in
a folder of its own; kept in docs/.cache until the script or the package changes.
"""

import ast
import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import matplotlib

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "docs" / ".cache"


def rendered(script: Path) -> tuple[str, dict[str, bytes]]:
    """The page in Markdown, and its images by name."""
    kept = CACHE / f"{script.stem}-{_digest(script)}"
    if not (kept / "page.md").exists():
        for old in CACHE.glob(f"{script.stem}-*"):
            digest = old.name.removeprefix(f"{script.stem}-")  # or of a script with a longer name
            if re.fullmatch(r"[0-9a-f]{16}", digest) and not old.is_symlink():
                shutil.rmtree(old)
        kept.mkdir(parents=True)
        page, images = execute(script)
        for name, content in images.items():
            (kept / name).write_bytes(content)
        (kept / "page.md").write_text(page, "utf-8")  # last: a page that is there is whole
    images = {path.name: path.read_bytes() for path in kept.iterdir() if path.name != "page.md"}
    return (kept / "page.md").read_text("utf-8"), images


def execute(script: Path) -> tuple[str, dict[str, bytes]]:
    names: dict[str, Any] = {"__name__": "__main__"}
    parts, images = [], {}
    with tempfile.TemporaryDirectory() as place, _inside(Path(place)):
        for cell in jupytext.read(script).cells:
            if cell.cell_type == "markdown":
                parts.append(cell.source)
                continue
            said, picture = _run(cell.source, names, script)
            parts.append(f"```python\n{cell.source}\n```")
            if said:
                parts.append(f"```text\n{said.rstrip()}\n```")
            if picture:
                images[picture.name] = picture.read_bytes()
                parts.append(f"![{picture.stem.replace('_', ' ')}]({script.stem}/{picture.name})")
    name = script.stem
    parts.append(f"Download it as a [notebook]({name}.ipynb) or as a [script]({name}.py), `docs/notebooks/{name}.py`.")
    return "\n\n".join(parts) + "\n", images


def downloads(script: Path) -> dict[str, bytes]:
    """The notebook without outputs, and the script, by file name."""
    cells = jupytext.read(script)
    for i, cell in enumerate(cells.cells):
        cell["id"] = f"cell-{i}"  # jupytext draws them anew each time
    cells.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {
        f"{script.stem}.ipynb": jupytext.writes(cells, fmt="ipynb").encode(),
        script.name: script.read_bytes(),
    }


def _run(source: str, names: dict[str, Any], script: Path) -> tuple[str, Path | None]:
    """What a cell prints, and the image whose path is its last expression."""
    tree, value = ast.parse(source), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(tree, str(script), "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(script), "eval"), names)
    return said.getvalue(), value if isinstance(value, Path) else None


@contextlib.contextmanager
def _inside(place: Path) -> Iterator[None]:
    here = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(here)


def _digest(script: Path) -> str:
    """Of the script, the package and the experiments."""
    sources = [script, *sorted((ROOT / "toylab").rglob("*.py")), *sorted((ROOT / "experiments").rglob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
