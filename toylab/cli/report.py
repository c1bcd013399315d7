"""`toylab report`: the judged claims of a page, or of all pages of a folder, as a table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toylab.cli.parser import Parser, path

KEYS = {"name", "source", "values", "verdict"}  # of a claim in claims.json


def report(arguments: list[str], program: str) -> int:
    """Prints the claims; 0, or 2 where there are none to be read."""
    parser = Parser(program, description="The judged claims of a page's folder, or of every page of a folder.")
    parser.add_argument("folder", type=path, help="results/grokking, or results for all its pages")
    options = parser.parse_args(arguments)
    from toylab import store
    from toylab.claims.counts import headline, held

    try:
        found = _claims(options.folder)
    except (ValueError, store.StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, claims in found.items():
        print(f"{name}: {held(claims)}")
        print_claims(claims)
    if len(found) > 1 and (total := headline(found.values())):
        print(total)
    return 0


def _claims(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Page → claims. ValueError or StoreError, in a sentence, where the folder has none."""
    from toylab import store

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give a page's folder, as results/grokking, or a folder of pages.")
    files = [folder / "claims.json"] if (folder / "claims.json").exists() else sorted(folder.glob("*/claims.json"))
    if not files and (folder / "runs").is_dir():
        raise ValueError(f"{folder} has no claims.json: its runs are not analyzed yet; run its stage analyze first.")
    if not files:
        raise ValueError(f"{folder} has no claims.json, and no folder in it has one: run a page's stage analyze first.")
    found = {}
    for file in files:
        record = store.read_json(file)
        claims = record.get("claims") if isinstance(record, dict) else None
        if not isinstance(claims, list) or not all(isinstance(one, dict) and set(one) >= KEYS for one in claims):
            raise ValueError(f"{file} has no claims in it: run the stage analyze, which writes it anew.")
        found[file.parent.resolve().name] = claims
    return found


def print_claims(claims: Sequence[dict[str, Any]]) -> None:
    """A plain table for each sort of claims: a rule with its interval, or a bound."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from toylab import lab
    from toylab.claims import table

    by_rule, by_bound = Table(*table.HEAD), Table("claim", "source", "bound", "values", "verdict")
    for claim in claims:
        if "ledger" in claim:
            by_rule.add_row(*map(Text, table.cells(claim)))
        else:
            cells = claim["name"], claim["source"], claim["bound"], lab.values_text(claim), claim["verdict"]
            by_bound.add_row(*map(Text, cells))  # not markup: E[x] is no tag
    console = Console(width=None if sys.stdout.isatty() else 160)
    for one in (by_rule, by_bound):
        if one.row_count:
            console.print(one)
