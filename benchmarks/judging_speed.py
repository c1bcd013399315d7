"""How long a page's claims take to be judged from their measures, bootstrap and variants with them, and in what memory.

    python benchmarks/judging_speed.py [--pages corrupted_labels dichotomy] [--rounds 3] [--json FILE]

The committed measures of pages, read once and judged in turn; without --pages those with the most values. Each page is
judged once before, so that imports do not count.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from account import keep, verdict

from toylab.lab import pages, stages, verdicts
from toylab.sweep.plan import environment

RESULTS = Path(__file__).parents[1] / "results"
SECONDS, GIB = 10.0, 4.0  # of 500 values; of the process


def n_values(claims: list[dict[str, Any]]) -> int:
    """Values of all claims and variants of a page."""
    return sum(claim["n"] * (1 + len(claim["variants"])) for claim in claims if not claim.get("withdrawn"))


def largest(n: int) -> list[str]:
    """The pages with the most values."""
    judged = {path.parent.name: json.loads(path.read_text())["claims"] for path in RESULTS.glob("*/claims.json")}
    return sorted(judged, key=lambda name: -n_values(judged[name]))[:n]


def judge(name: str, rounds: int) -> dict[str, float]:
    page, folder = pages.load(name), RESULTS / name
    measures = stages.read_measures(folder)
    claims = verdicts.judge(page, measures, folder=folder)
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        verdicts.judge(page, measures, folder=folder)
        seconds.append(time.perf_counter() - begin)
    found = {"claims": len(claims), "values": n_values(claims), "seconds": statistics.median(seconds)}
    print(f"{name}: {found['claims']} claims, {found['values']:,} values, {found['seconds']:.2f} s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--pages", nargs="*", default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = {name: judge(name, args.rounds) for name in args.pages or largest(3)}
    of_500 = max(500 * one["seconds"] / one["values"] for one in found.values())
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"500 values: {of_500:.2f} s (asked: {SECONDS:g}), {verdict(of_500 < SECONDS)}")
    print(f"peak memory: {gib:.2f} GiB (asked: {GIB:g}), {verdict(gib < GIB)}")
    keep({"environment": environment(), "pages": found, "seconds of 500 values": of_500, "peak GiB": gib}, args.json)


if __name__ == "__main__":
    main()
