"""`toylab list`: the built-in pages by family, read without importing them."""

import ast
import json
import re
from pathlib import Path
from typing import Any

from toylab.claims.counts import headline, held
from toylab.lab import pages


def listing() -> str:
    """Each page with the first line of its docstring, the verdicts of its claims, and its Cost; then all verdicts."""
    lines, family, all_claims = [], "", []
    for name, path in pages.built_in().items():
        if path.parent.name != family:
            family = path.parent.name
            lines.append(f"{family}:")
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        all_claims.append(claims := _claims(path, name))
        lines.append(f"  {name:26}{text.splitlines()[0] if text else ''}")
        lines.append(f"  {'':26}claims {held(claims) if claims else '–'} · {_cost(text)}")
    return "\n".join([*lines, *filter(None, [headline(all_claims)])])


def _claims(path: Path, name: str) -> list[Any]:
    """The judged claims in the results of the clone that the page lies in; none where there are no results."""
    try:
        return list(json.loads((path.parents[2] / "results" / name / "claims.json").read_text("utf-8"))["claims"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _cost(text: str) -> str:
    """The first line of the docstring's Cost."""
    found = re.search(r"^Cost +(.+?)$", text, re.M)
    return f"cost {found[1]}" if found else "cost –"
