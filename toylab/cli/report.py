"""`toylab report`: the judged claims of a page, or of all pages of a folder, as a table; of runs with other values than the
page's own their summary before."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toylab.cli.parser import Parser, path

ROWS = 40  # of a summary that are printed
KEYS = {"ledger", "name", "source", "verdict"}  # of a claim in claims.json


def report(arguments: list[str], program: str) -> int:
    """Prints the claims; 0, or 2 where there are none to be read."""
    parser = Parser(program, description="The judged claims of a page's folder, or of every page of a folder.")
    parser.add_argument("folder", type=path, help="results/grokking, or results for all its pages")
    options = parser.parse_args(arguments)
    from toylab import store
    from toylab.claims.counts import headline, held

    try:
        found = _records(options.folder)
    except (ValueError, store.StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    for name, (summary, claims, took) in found.items():
        print_summary(summary)
        print(f"{name}: {held(claims)}{f'; {took}' if took else ''}")
        print_claims(claims)
    if len(found) > 1 and (total := headline([claims for _, claims, _ in found.values()])):
        print(total)
    return 0


def _records(folder: Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]]:
    """Page → its summary, its claims, and how long its training took. ValueError or StoreError, in a sentence, where the
    folder has no claims."""
    from toylab import store
    from toylab.lab import summary, wall
    from toylab.records import notes

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
        made = notes.page_record(file.parent)
        took = wall.told(made.get("parts", {"": made}).values())
        found[file.parent.resolve().name] = summary.read(file.parent), claims, took
    return found


def print_claims(claims: Sequence[dict[str, Any]]) -> None:
    """A plain table of the claims; before it, where they were judged off their set-up, that they were."""
    from toylab.claims import table

    if told := table.off(claims):
        print(told)
    _print(table.HEAD, [table.cells(claim) for claim in claims])


def print_summary(record: dict[str, Any]) -> None:
    """A plain table of each part in summary.json: those that were run with other values than the page's own."""
    from toylab.lab import summary_tables

    for name, part in record.get("parts", {}).items():
        print(summary_tables.title(record["experiment"], name, part))
        head, rows = summary_tables.table(part)
        _print(head, rows[:ROWS])
        more = f" {len(rows) - ROWS:,} more rows are in summary.md." if len(rows) > ROWS else ""
        print(f"{summary_tables.note(part)}{more}")


def _print(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table()
    for name in head:
        shown.add_column(Text(name))
    for row in rows:
        shown.add_row(*map(Text, row))  # not markup: E[x] is no tag
    if shown.row_count:
        Console(width=None if sys.stdout.isatty() else 160).print(shown)
