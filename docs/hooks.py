"""What the site shows of the repository, made when it is built: nothing is written down twice.

Claims from results/*/claims.json, figures from results/*/figures (referenced, never copied into docs), sections of the
README, a reference page for every public module, and the notebooks of docs/notebooks with what they print and draw.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import notebooks
from docstrings import markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from toylab import lab

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
EXPERIMENTS = [name for name in re.findall(r"^\| \[(\w+)\]\(results/", README, re.M)]  # in the README's order


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    claims = [{name: f"claims/{name}.md"} for name in committed()]
    assert config.nav is not None
    config.nav.append({"Claims": ["claims/index.md", *claims]})
    config.nav.append({"Reference": ["reference/index.md", *_tree(modules())]})
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
        add(reference_of(module), f"# {module}\n\n::: {module}\n")
    for script in sorted((ROOT / "docs" / "notebooks").glob("*.py")):
        page, images = notebooks.rendered(script)
        add(f"notebooks/{script.stem}.md", page)
        for image, content in images.items():
            add(f"notebooks/{script.stem}/{image}", content)
    return files


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """`<!-- README: Heading -->` is that section of the README, `<!-- claims: page -->` the claims of a page."""
    up = "../" * page.file.src_uri.count("/")
    text = re.sub(r"<!-- README: (.+?) -->", lambda found: section(found[1], up), text)
    return re.sub(r"<!-- claims: (\w+) -->", lambda found: table(found[1]), text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """No page fetches anything from elsewhere when it is viewed."""
    if fetched := re.search(r"""<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:)?//[^>]*>""", output):
        raise PluginError(f"{page.file.src_uri} fetches {fetched[0]}: the site must be viewed without a network.")
    used = r"""<link(?=[^>]*\srel="?(?:stylesheet|preconnect|preload|icon))[^>]*\shref="?(?:https?:)?//[^>]*>"""
    if linked := re.search(used, output):
        raise PluginError(f"{page.file.src_uri} fetches {linked[0]}: the site must be viewed without a network.")
    return output


def section(heading: str, up: str = "") -> str:
    """A section of the README without its heading, its links pointing into the site."""
    headings = [(len(found[1]), found[2], found) for found in re.finditer(r"^(#+) (.+)$", outside_code(README), re.M)]
    chosen = next((i for i, (_, title, _) in enumerate(headings) if title == heading), None)
    if chosen is None:
        raise PluginError(f"README.md has no section {heading!r}, which a page of docs/pages shows.")
    level, _, found = headings[chosen]
    end = next((other.start() for depth, _, other in headings[chosen + 1 :] if depth <= level), len(README))
    body = README[found.end() : end].strip()
    return re.sub(r"\]\(results/(\w+)/claims\.md\)", rf"]({up}claims/\1.md)", body)


def outside_code(text: str) -> str:
    """The text with the first character of comments in code blanked: a shell comment is no heading."""
    return re.sub(r"```.*?```", lambda found: found[0].replace("\n#", "\n "), text, flags=re.S)


def committed() -> list[str]:
    """Experiments with committed claims, in the README's order, then others."""
    found = sorted(path.parent.name for path in ROOT.glob("results/*/claims.json"))
    return sorted(found, key=lambda name: (EXPERIMENTS.index(name) if name in EXPERIMENTS else len(EXPERIMENTS), name))


def judged(name: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / "results" / name / "claims.json").read_text())["claims"]


def table(name: str) -> str:
    return lab.claims_table(judged(name))


def claims_index() -> str:
    rows = [lab.summary(name, judged(name)).replace(f"results/{name}/claims.md", f"{name}.md") for name in committed()]
    intro = (
        "# Claims\n\nWhat papers found, as code: a quantity, a bound fixed before the run, and the value of every seed. "
        "What fails stays, with what was tried on the page's own head.\n\n"
        "| page | claims that hold | and that do not, for each run, seed or level |\n|---|---|---|\n"
    )
    return intro + "\n".join(rows) + "\n"


def claims_page(name: str) -> str:
    """The head of the experiment, its claims and all its figures."""
    doc = ast.get_docstring(ast.parse((ROOT / "experiments" / f"{name}.py").read_text())) or ""
    title, _, head = doc.partition("\n\n")
    figures = sorted((ROOT / "results" / name / "figures").iterdir())
    shown = "\n\n".join(
        f"![{figure.stem.replace('_', ' ')}](../results/{name}/figures/{figure.name})" for figure in figures
    )
    about = f"## What it is\n\n```text\n{head}\n```"
    return f"# {name}\n\n{markdown(title)}\n\n{table(name)}\n{about}\n\n## Figures\n\n{shown}\n"


def modules() -> list[str]:
    """Every public module of the package by dotted name, packages before what is in them."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "toylab").rglob("*.py"))
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))


def reference_of(module: str) -> str:
    return f"reference/{module.replace('.', '/')}.md"


def _tree(names: list[str]) -> list[Any]:
    """The nav of the reference: a folder a package."""
    packages = {name for name in names if any(other.startswith(f"{name}.") for other in names)} - {"toylab"}
    own = [
        {name: reference_of(name)}
        for name in names
        if name.rpartition(".")[0] in ("", "toylab") and name not in packages
    ]
    return [{"toylab": own}] + [
        {package: [{name: reference_of(name)} for name in names if name == package or name.startswith(f"{package}.")]}
        for package in sorted(packages)
    ]


def reference_index() -> str:
    rows = [f"- [`{name}`]({reference_of(name).removeprefix('reference/')})" for name in modules()]
    return (
        "# Reference\n\nFormula, shapes, units, source and deviations stand in the docstrings.\n\n"
        + "\n".join(rows)
        + "\n"
    )
