"""What the benchmarks share: the number of cores, whether a target is reached, the numbers in a file."""

import json
import os
from pathlib import Path
from typing import Any


def n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def verdict(reached: bool) -> str:
    return "pass" if reached else "MISS"


def keep(result: Any, path: Path | None) -> None:
    """Writes the numbers as JSON, if a file is given for them."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
