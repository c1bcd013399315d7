"""How long the groups of a page took to train, by its log.txt."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from toylab.display import clock

STARTS = ("begin", "resume")


def seconds(log: Path) -> dict[tuple[str, str], float]:
    """Seconds of the clock that each group was in training, by part ("" of a page that has none) and group.

    They are those of its stretches, each from a begin or resume to the last line before the next. Of a stretch that was cut
    off what came after its last commit is not known, and not counted.
    """
    try:
        text = log.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {of: sum(_stretches(events)) for of, events in _by_group(text.splitlines()).items()}


def told(parts: Iterable[Mapping[str, Any]]) -> str:
    """The time that the groups in records of a page's parts took, each for itself; "" where nothing is on record."""
    groups = [group for part in parts for group in part.get("groups", {}).values()]
    known = [(group["seconds"], group["environment"].get("cores", 1)) for group in groups if "seconds" in group]
    if not known:
        return ""
    total, by_cores = sum(one for one, _ in known), sum(one * cores for one, cores in known)
    some = f" of {len(known)} of its {len(groups)} groups" if len(known) < len(groups) else ""
    return f"training{some} took {clock(total)}, {clock(by_cores)} of one core"


def _by_group(lines: Iterable[str]) -> dict[tuple[str, str], list[tuple[datetime, str]]]:
    found: dict[tuple[str, str], list[tuple[datetime, str]]] = {}
    for line in lines:
        try:
            pairs = dict(pair.split("=", 1) for pair in shlex.split(line))
            event = datetime.strptime(pairs["time"], "%Y-%m-%dT%H:%M:%S%z"), pairs["event"]
        except (KeyError, ValueError):  # a line that a full disk cut off
            continue
        found.setdefault((pairs.get("part", ""), pairs.get("group", "")), []).append(event)
    return found


def _stretches(events: Iterable[tuple[datetime, str]]) -> list[float]:
    first: datetime | None = None
    found: list[float] = []
    for time, event in events:
        if event in STARTS or first is None:
            first = time
            found.append(0.0)
        found[-1] = max((time - first).total_seconds(), 0.0)
    return found
