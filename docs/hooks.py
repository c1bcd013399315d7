"""What the site shows of the repository, made when it is built: nothing is written down twice.

Claims from results/*/claims.json, figures from results/*/figures (referenced, never copied into docs), what `--help`
prints, a reference page for every public module, the notebooks of docs/notebooks with what they print and draw, and the
explorer's pages of some committed measures, each one file.
"""

import ast
import contextlib
import io
import json
import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import notebooks
from docstrings import formulas, markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from PIL import Image

from toylab.claims import table as claims_table
from toylab.claims.counts import headline
from toylab.cli.listing import listing
from toylab.cli.main import main
from toylab.explore import open_folder
from toylab.explore.exporting import export
from toylab.explore.views import built_in as built_in_views
from toylab.lab import pages, verdicts
from toylab.plots import style

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EM_PER_INCH = (
    7.6  # em of text an inch of a figure takes: 7 inches, a page of a paper, are the width of the text and more
)
EXPLORED = ("grokking", "superposition", "induction", "grokking_phase")
LARGEST = 2_000_000  # bytes of an exported page
EXPERIMENTS = re.findall(r"\[(\w+)\]\(results/\1/claims\.md\)", README)  # in the README's order


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    families: dict[str, list[Any]] = {}
    for name in committed():
        families.setdefault(pages.built_in()[name].parent.name.capitalize(), []).append({name: f"claims/{name}.md"})
    claims = [{family: listed} for family, listed in families.items()]
    assert config.nav is not None
    reference = next(section["Reference"] for section in config.nav if "Reference" in section)
    reference += [{"Claims by page": ["claims/index.md", *claims]}, {"Modules": ["reference/index.md", *_tree()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    def add(path: str, content: str | bytes) -> None:
        files.append(File.generated(config, path, content=content))

    for figure in sorted(ROOT.glob("results/*/figures/*")):
        files.append(File.generated(config, str(figure.relative_to(ROOT)), abs_src_path=str(figure)))
    add("claims/index.md", claims_index())
    for name in committed():
        add(f"claims/{name}.md", claims_page(name))
    add("reference/index.md", reference_index())
    for module in modules():
        add(reference_of(module), f"---\ntitle: {module}\n---\n\n# {module}\n\n::: {module}\n")
    for name in EXPLORED:
        add(f"explore/{name}.html", explored(name))
    for script in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        page, images = notebooks.rendered(script)
        add(f"tutorials/{script.stem}.md", page)
        for image, content in images.items():
            add(f"tutorials/{script.stem}/{image}", content)
        for download, content in notebooks.downloads(script).items():
            add(f"tutorials/{download}", content)
    return files


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """`<!-- claims: page -->` is the table of a page's claims, `<!-- help: status -->` the options of a command."""
    text = re.sub(r"<!-- help: ([\w ]*?) *-->", lambda found: helped(found[1]), text)
    return re.sub(r"<!-- claims: (\w+) -->", lambda found: table(found[1]), text)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Figures keep their proportions, a column half as wide as a page, and open alone. Source is not searched."""

    def sized(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), found[2]))
        figure = files.get_file_from_path(path)
        if figure is None:
            return found[0]
        with Image.open(io.BytesIO(figure.content_bytes)) as image:
            inches = image.width / image.info["dpi"][0] if "dpi" in image.info else image.width / style.GIF_DPI
        return f'<a href="{found[2]}">{found[1]} style="width: {inches * EM_PER_INCH:.3g}em"{found[3]}</a>'

    html = html.replace(
        '<details class="mkdocstrings-source"', '<details data-search-exclude class="mkdocstrings-source"'
    )
    return re.sub(r'(<img[^>]*? src="([^":]+)")([^>]*>)', sized, html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """No page fetches anything from elsewhere when it is viewed, and none shows a reference that leads nowhere."""
    if nowhere := re.search(r"\]\[(toylab[\w.]*)\]", output):
        raise PluginError(f"{page.file.src_uri} refers to {nowhere[1]}, which has no entry: link a module by its page.")
    if fetched := re.search(r"""<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:)?//[^>]*>""", output):
        raise PluginError(f"{page.file.src_uri} fetches {fetched[0]}: the site must be viewed without a network.")
    used = r"""<link(?=[^>]*\srel="?(?:stylesheet|preconnect|preload|icon))[^>]*\shref="?(?:https?:)?//[^>]*>"""
    if linked := re.search(used, output):
        raise PluginError(f"{page.file.src_uri} fetches {linked[0]}: the site must be viewed without a network.")
    return output


def explored(name: str) -> bytes:
    """A page of committed measures as the explorer exports it, of its first part. Its folder is named as from the clone."""
    with contextlib.chdir(ROOT):
        recording = next(iter(open_folder(Path("results", name)).values()))
        content = export.page_of(recording, built_in_views()).encode()
    if len(content) > LARGEST:
        raise PluginError(f"explore/{name}.html has {len(content)} bytes: at most {LARGEST} are meant.")
    return content


def helped(command: str) -> str:
    """What `toylab COMMAND --help` prints, without the list of pages."""
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main([command, "--help"])
    del os.environ["COLUMNS"]
    if width is not None:
        os.environ["COLUMNS"] = width
    return f"```text\n{printed.getvalue().replace(listing(), '').rstrip()}\n```"


def committed() -> list[str]:
    """Experiments with committed claims, in the README's order, then others."""
    found = sorted(path.parent.name for path in ROOT.glob("results/*/claims.json"))
    return sorted(found, key=lambda name: (EXPERIMENTS.index(name) if name in EXPERIMENTS else len(EXPERIMENTS), name))


def judged(name: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / "results" / name / "claims.json").read_text("utf-8"))["claims"]


def table(name: str) -> str:
    return claims_table.markdown(shown(name))


def shown(name: str) -> list[dict[str, Any]]:
    """The claims of a page, with the formulas in their names and sources."""
    return [{**claim, **{part: in_cell(claim[part]) for part in ("name", "source")}} for claim in judged(name)]


def in_cell(text: Any) -> Any:
    """A text with its formulas, or all texts of a source."""
    if isinstance(text, dict):
        return {name: in_cell(part) for name, part in text.items()}
    if not isinstance(text, str):
        return text
    return formulas(text).replace(r"\|", "|")  # the table itself sees to that


def claims_index() -> str:
    rows = [
        verdicts.summary(name, shown(name)).replace(f"results/{name}/claims.md", f"{name}.md") for name in committed()
    ]
    intro = (
        "# Claims\n\nWhat papers found, as code: a quantity and a [rule](../judging.md) that is fixed before the runs that "
        "confirm it. What fails stays, with "
        f"what was tried on the page's own head.\n\n{headline([shown(name) for name in committed()])}\n\n"
        '<div class="told" markdown>\n\n'
        "| page | verdicts | what does not agree |\n|---|---|---|\n"
    )
    return intro + "\n".join(rows) + "\n\n</div>\n"


def claims_page(name: str) -> str:
    """The head of the experiment, its claims and all its figures."""
    doc = ast.get_docstring(ast.parse(pages.built_in()[name].read_text("utf-8"))) or ""
    title, _, rest = doc.partition("\n\n")
    figures = sorted((ROOT / "results" / name / "figures").iterdir())
    pictures = "\n\n".join(
        f"![{figure.stem.replace('_', ' ')}](../results/{name}/figures/{figure.name})" for figure in figures
    )
    return (
        f"# {name}\n\n{markdown(title)}\n\n{table(name)}\n## What it is\n\n{head(rest)}\n\n## Figures\n\n{pictures}\n"
    )


def head(doc: str) -> str:
    """Claim, Source, Expect, … of an experiment as a list of definitions, its lines broken where a page ends."""
    before, *parts = re.split(r"^([A-Z][a-z]+) {2,}", doc, flags=re.M)
    items = [markdown(before)] if before.strip() else []
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        said = re.sub(r"(?m)^ +", "", text.strip())
        said = f"`{said}`" if name == "Command" else markdown(said)
        items.append(f"{name}\n:   " + said.replace("\n", "\n    "))
    return "\n\n".join(items)


def modules() -> list[str]:
    """Every public module of the package by dotted name, packages before what is in them."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "toylab").rglob("*.py"))
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))


def packages() -> list[str]:
    """Those modules that are folders, each in front of what is in it."""
    return [name for name in modules() if (ROOT / name.replace(".", "/")).is_dir()]


def reference_of(module: str) -> str:
    return f"reference/{module.replace('.', '/')}{'/index' if module in packages() else ''}.md"


def _tree() -> list[Any]:
    """The nav of the reference: a folder a package, those of toylab itself beside it, for they are long."""
    beside = [name for name in packages() if name.count(".") == 1]
    return [{"toylab": _folder("toylab", without=beside)}, *({name: _folder(name)} for name in beside)]


def _folder(package: str, without: Sequence[str] = ()) -> list[Any]:
    entries: list[Any] = [reference_of(package)]
    for name in within(package):
        if name not in without:
            entries.append({name.rpartition(".")[2]: _folder(name) if name in packages() else reference_of(name)})
    return entries


def within(package: str) -> list[str]:
    return [name for name in modules() if name.rpartition(".")[0] == package]


def reference_index() -> str:
    """Every module with the first sentence of its docstring, a table for each folder."""
    text = "# Reference\n\nFormula, shapes, units, source and deviations stand in the docstrings.\n"
    for package in packages():
        names = [package, *(name for name in within(package) if name not in packages())]
        rows = [f"| [`{name}`]({reference_of(name).removeprefix('reference/')}) | {about(name)} |" for name in names]
        text += "\n".join([f"\n## {package}\n", "| module | what it is |", "|---|---|", *rows]) + "\n"
    return text


def about(module: str) -> str:
    """The first sentence of a module."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    first = re.split(r"(?<!\bal)\. |\n\n", doc, maxsplit=1)[0]
    return markdown(" ".join(first.split())).rstrip(".")
