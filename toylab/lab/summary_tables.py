"""The summary of a custom sweep as tables: for a terminal, in Markdown, as CSV."""

import csv
import io
from typing import Any

from toylab.lab.page import cell

SHOWN = 4  # measures in a table; the CSV has all
Row = dict[str, Any]


def markdown(record: Row) -> str:
    """summary.md."""
    parts = []
    for name, part in record["parts"].items():
        head, rows = table(part)
        lines = [f"| {' | '.join(map(cell, cells))} |" for cells in (head, ["---"] * len(head), *rows)]
        parts.append("\n".join([f"## {title(record['experiment'], name, part)}", "", *lines, "", note(part)]))
    return "\n\n".join(parts) + "\n"


def title(experiment: str, name: str, part: Row) -> str:
    """What a summary is of."""
    n = sum(row["runs"] for row in part["rows"])
    by = f", by {' and '.join(map(_name, part['fields']))}" if part["fields"] else ""
    return f"{experiment}{f', part {name}' if name else ''}: {n:,} run{'s' * (n != 1)}{by}"


def note(part: Row) -> str:
    """What the numbers of a table are."""
    told = "Median [quartiles] over runs, of the last saved value."
    if part["milestone"]:
        word = part["milestone"]
        told += f" A run that has not reached “{word}” by step {part['until']:,} counts as later than all others (∞)."
    if "unjudged" in part:
        told += f" The page's milestone cannot be judged of these runs ({part['unjudged']})."
    return told


def table(part: Row) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a part's table."""
    measures = list(part["rows"][0]["last"])[:SHOWN]
    reached = [part["milestone"], "at step"] if part["milestone"] else []
    head = [
        *map(_name, (*part["fields"], *part["with"])),
        "runs",
        *reached,
        *(name.replace("_", " ") for name in measures),
    ]
    rows = []
    for row in part["rows"]:
        cells = [*(text(value) for value in row["values"].values()), str(row["runs"])]
        if part["milestone"]:
            cells += [
                f"{row['reached']}/{row['runs']} ({row['reached'] / row['runs']:.0%})",
                _cell(row["step"], row, "∞"),
            ]
        rows.append([*cells, *(_cell(row["last"][name], row, "–") for name in measures)])
    return head, rows


def text(value: Any) -> str:
    """A value of a field in a table."""
    return "–" if value in (None, "") else f"{value:.6g}" if isinstance(value, float) else str(value)


def _name(field: str) -> str:
    return field.removesuffix(".type").removesuffix(".module")


def _cell(found: Row, row: Row, lacking: str) -> str:
    """Median and quartiles; the number of runs where some have no value."""

    def number(value: float | None) -> str:
        return lacking if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    low, high = found["quartiles"]
    spread = f" [{number(low)}; {number(high)}]" if row["runs"] > 1 and found["n"] else ""
    fewer = f" (of {found['n']})" if found["n"] < row["runs"] and lacking == "–" and found["n"] else ""
    return f"{number(found['median'])}{spread}{fewer}"


def as_csv(parts: dict[str, Row]) -> str:
    """A row for each part and combination, a column for each number."""
    rows = [_flat(name, row) for name, part in parts.items() for row in part["rows"]]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(part: str, row: Row) -> Row:
    flat: Row = {"part": part, **row["values"], "runs": row["runs"]}
    numbers = {"step": row["step"]} if "step" in row else {}
    flat |= {"reached": row["reached"]} if "reached" in row else {}
    for name, found in {**numbers, **row["last"]}.items():
        low, high = found["quartiles"]
        flat |= {f"{name}/median": found["median"], f"{name}/q25": low, f"{name}/q75": high, f"{name}/n": found["n"]}
    return flat
