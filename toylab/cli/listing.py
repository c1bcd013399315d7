"""`toylab list`: the built-in pages by family, read without importing them."""

import ast
import json
import re
from pathlib import Path

from toylab.claims.counts import held
from toylab.lab import pages


def listing() -> str:
    """Each page with the first line of its docstring, the verdicts of its claims, and its Cost."""
    lines, family = [], ""
    for name, path in pages.built_in().items():
        if path.parent.name != family:
            family = path.parent.name
            lines.append(f"{family}:")
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines.append(f"  {name:26}{text.splitlines()[0] if text else ''}")
        lines.append(f"  {'':26}claims {_claims(path, name)} · {_cost(text)}")
    return "\n".join(lines)


def _claims(path: Path, name: str) -> str:
    """ "9 of 12 hold", of the results in the clone that the page lies in; "–" where there are none."""
    try:
        claims = json.loads((path.parents[2] / "results" / name / "claims.json").read_text("utf-8"))["claims"]
        return held(claims)
    except (OSError, ValueError, KeyError, TypeError):
        return "–"


def _cost(text: str) -> str:
    """The first line of the docstring's Cost."""
    found = re.search(r"^Cost +(.+?)$", text, re.M)
    return f"cost {found[1]}" if found else "cost –"
