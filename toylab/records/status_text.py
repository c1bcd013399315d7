"""The status of a sweep as text."""

from collections.abc import Sequence

from toylab.records.status import STATES, GroupStatus, SweepStatus


def as_text(status: SweepStatus) -> str:
    """The status as aligned plain text, with a line of totals and what to type."""
    with_part = any(one.part for one in status.groups)
    head = [*(["part"] if with_part else []), "group", "runs", "step", "ended", "diverged", "state"]
    rows = [head, *([*([one.part] if with_part else []), *_cells(one)] for one in status.groups)]
    left = {0, len(head) - 1, *({1} if with_part else ())}
    lines = _aligned(rows, left)
    lines.append(f"total: {totals(status)}")
    for one in status.groups:
        if one.advice:
            lines.append(f"{one.group}: {one.advice}, then go on.")
    lines += status.notes
    if status.notes or any(one.state not in ("finished", "going") for one in status.groups):
        lines += [f"to go on: {command}" for command in status.commands]
    return "\n".join(lines)


def totals(status: SweepStatus) -> str:
    """How many groups there are, and how many runs in each state, in a line."""
    counts = {state: sum(one.runs for one in status.groups if one.state == state) for state in STATES}
    each = ", ".join(f"{n:,} {state}" for state, n in counts.items() if n)
    n_groups = f"{len(status.groups)} group{'s' if len(status.groups) > 1 else ''}"
    return f"{n_groups}, {sum(counts.values()):,} runs: {each}"


def _cells(one: GroupStatus) -> list[str]:
    step = "–" if one.step is None else f"{one.step:,}"
    of = "" if one.last is None else f"/{one.last:,}"
    state = f"{one.state}: {one.detail}" if one.detail else one.state
    return [one.group, f"{one.runs:,}", step + of, f"{one.ended:,}", f"{one.diverged:,}", state]


def _aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = (
        [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in cells]
