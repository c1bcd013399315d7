"""`toylab report`: the judged claims of a page, or of all pages of a folder, as a table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toylab.cli.parser import Parser, path

KEYS = {"ledger", "name", "source", "verdict"}  # of a claim in claims.json


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
    """A plain table of the claims."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from toylab.claims import table

    shown = Table(*table.HEAD)
    for claim in claims:
        shown.add_row(*map(Text, table.cells(claim)))  # not markup: E[x] is no tag
    if shown.row_count:
        Console(width=None if sys.stdout.isatty() else 160).print(shown)
