"""What the benchmarks say at the end: whether a target is reached, and the numbers in a file."""

import json
from pathlib import Path
from typing import Any


def verdict(reached: bool) -> str:
    return "pass" if reached else "MISS"


def keep(result: Any, path: Path | None) -> None:
    """Writes the numbers as JSON, if a file is given for them."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
