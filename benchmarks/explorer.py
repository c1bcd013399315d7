"""How fast the explorer is, in a real browser: first picture, a step of the slider, 500 runs, memory, an exported file.

    python benchmarks/explorer.py [FOLDER] [--steps 30] [--json benchmarks/results/explorer_cpu.json]

FOLDER is a page's with weights (default: results/cpu/grokking, which `toylab run grokking` makes). The server is `toylab
explore` in a process of its own, the browser the system's Chromium, headless, by Playwright. The slider goes on step by
step from the middle; beside each step stands what it takes to read the same chunk into NumPy arrays, in the same run.
Seconds are of the clock; beside them stands the CPU time of the server's process and of the browser's main thread, which
other programs disturb less.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from account import keep, n_cores, verdict

from toylab import store, sweep
from toylab.explore import of_arrays
from toylab.explore.serving.server import Server
from toylab.sweep import environment

FIRST, STEP, BRUSH, OPEN, GIB = 3.0, 0.150, 0.200, 2.0, 1.5
RUNS, POINTS = 500, 200
QUIET = 400  # milliseconds without new data after which all is drawn
READY = "window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents.every((doc) => doc.is_idle)"
WATCH = """() => {
window.drawn = 0
window.watched ??= new WeakSet()
for (const m of Bokeh.documents[0].all_models) {
  for (const p of [m.properties.data, m.properties.indices, m.properties.text].filter((p) => p && !watched.has(p))) {
    watched.add(p)
    p.change.connect(() => requestAnimationFrame(() => setTimeout(() => { window.drawn = performance.now() })))
  }
}
window.settled = async (act, quiet) => {
  const start = window.drawn = performance.now()
  act()
  do await new Promise((go) => setTimeout(go, 20))
  while (performance.now() - Math.max(window.drawn, start) < quiet)
  return (window.drawn - start) / 1000
}
}"""
SLIDER = "[...Bokeh.documents[0].all_models].find((m) => m.type === 'Slider' && m.css_classes.includes('step'))"
TABLE = "[...Bokeh.documents[0].all_models].find((m) => m.type === 'DataTable').source"


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`toylab explore` in a process, and its address."""
    command = [sys.executable, "-m", "toylab", "explore", str(folder), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+(?=[;])", process.stdout.readline())
    if found is None:
        raise SystemExit(f"{' '.join(command)} did not begin.")
    try:
        yield process, found[0]
    finally:
        process.terminate()
        process.wait()


class Tab:
    """A tab, with the CPU time of its main thread."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.page = browser.new_context(viewport={"width": 1400, "height": 900}, **options).new_page()
        self.page.set_default_timeout(120_000)
        self.session = self.page.context.new_cdp_session(self.page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def cpu(self) -> float:
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    def open(self, url: str, until: str) -> dict[str, float]:
        start = time.perf_counter()
        self.page.goto(url)
        self.page.wait_for_function(f"{READY} && ({until})", timeout=120_000)
        return {"seconds": time.perf_counter() - start, "browser_cpu": self.cpu()}

    def settled(self, act: str) -> float:
        """Seconds from an act until the last new data that follows from it is painted."""
        return self.page.evaluate(f"() => window.settled(() => {{ {act} }}, {QUIET})")


def cpu_of(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_gib(process: subprocess.Popen[str]) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) * 1024 / 2**30 if found else float("nan")


def live(browser: Any, folder: Path, n_steps: int) -> dict[str, Any]:
    """First picture, steps of the slider, memory. Each step has the reading of its chunk beside it."""
    reading = reader(folder)
    with serving(folder) as (process, url):
        tab = Tab(browser)
        curves = tab.open(url, "true")
        start = time.perf_counter()
        tab.page.wait_for_function("[...Bokeh.documents[0].all_models].some((m) => m.data?.image)")
        curves["views"] = curves["seconds"] + time.perf_counter() - start
        tab.page.wait_for_timeout(3000)
        again = Tab(browser).open(url, "true")
        last = tab.page.evaluate(f"{SLIDER}.end")
        steps, server, main, numpy = [], [], [], []
        for at in range(last // 2, min(last // 2 + n_steps, last)):
            tab.page.evaluate(WATCH)
            before = cpu_of(process), tab.cpu()
            steps.append(tab.settled(f"{SLIDER}.value = {at}"))
            server.append(cpu_of(process) - before[0])
            main.append(tab.cpu() - before[1])
            numpy.append(reading(at))
        tabs = tab.page.locator(".bk-tab")
        for i in range(tabs.count()):
            tabs.nth(i).click()
            for at in range(0, int(last), max(1, int(last) // 20)):
                tab.page.evaluate(f"{SLIDER}.value = {at}")
                tab.page.wait_for_timeout(150)
        tab.page.wait_for_timeout(3000)
        peak = peak_gib(process)
    medians = {"seconds": steps, "server_cpu": server, "browser_cpu": main, "numpy_seconds": numpy}
    found = {name: statistics.median(values) for name, values in medians.items()}
    return {"first": curves, "first_again": again, "step": found, "n_steps": len(steps), "peak_gib": peak}


def reader(folder: Path) -> Callable[[int], float]:
    """Seconds to read the params of a saved point's chunk into NumPy arrays, by the number of the point."""
    source = sweep.load(folder).sources[0]
    steps, chunks = source.group.steps, store.chunks(source.folder)

    def seconds(at: int) -> float:
        chunk = next(step for step in chunks if step >= steps[at])
        start = time.perf_counter()
        store.read_chunk(source.folder, chunk, ("traj",))
        return time.perf_counter() - start

    return seconds


def many(browser: Any, rounds: int = 9) -> dict[str, float]:
    """A brush over half of 500 runs: table, curves, sweep and parallel coordinates follow."""
    rng = np.random.default_rng(0)
    steps = np.arange(POINTS)
    decay = rng.uniform(0.1, 3, RUNS)
    losses = {f"loss_{i}": np.exp(-np.outer(decay, steps) / 50 / (i + 1)) for i in range(3)}
    columns = {
        "decay": decay.tolist(),
        "seed": [i % 5 for i in range(RUNS)],
        "width": [2 ** (i % 6) for i in range(RUNS)],
    }
    weights = {"W": np.zeros((RUNS, POINTS, 1, 1), np.float32)}
    names = [f"run{i}" for i in range(RUNS)]
    server = Server({"": of_arrays(weights, steps, measures=losses, runs=names, columns=columns)}, [])
    server.start()
    tab = Tab(browser)
    tab.open(server.url, "true")
    tab.page.wait_for_timeout(2000)
    taken, main = [], []
    for _ in range(rounds):
        chosen = np.flatnonzero(rng.random(RUNS) < 0.5).tolist()
        tab.page.evaluate(WATCH)
        before = tab.cpu()
        taken.append(tab.settled(f"{TABLE}.selected.indices = {chosen}"))
        main.append(tab.cpu() - before)
    server.stop()
    return {"seconds": statistics.median(taken), "browser_cpu": statistics.median(main)}


def exported(browser: Any, folder: Path) -> dict[str, float]:
    """Size of the file of 40 points, and seconds until it is drawn without a network."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "page.html"
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "toylab", "export", str(folder), "--out", str(file)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        taken = time.perf_counter() - start
        opened = [Tab(browser, offline=True).open(file.as_uri(), "true") for _ in range(3)]
        best = {name: statistics.median(one[name] for one in opened) for name in opened[0]}
        return {"bytes": file.stat().st_size, "export_seconds": taken, **best}


def report(found: dict[str, Any]) -> None:
    print(f"\n{', '.join(f'{name} {value}' for name, value in found['environment'].items())}\n")
    print(f"{found['load']:.1f} processes waited for {found['cores']} cores when it began.\n")
    print("| what | s | CPU: server, browser | asked | |\n|---|---|---|---|---|")
    on, step, runs, file = found["live"], found["live"]["step"], found["brush"], found["exported"]
    for name, one, limit in (
        ("first picture", on["first"], FIRST),
        ("the same, a second tab", on["first_again"], FIRST),
        (f"a step of the slider (its chunk by NumPy: {step['numpy_seconds']:.3f})", step, STEP),
        (f"a brush over {RUNS} runs", runs, BRUSH),
        (f"opening an exported file of {store.size(file['bytes'])}", file, OPEN),
    ):
        server = f"{one['server_cpu']:.3f}" if "server_cpu" in one else "–"
        shown = f"{server}, {one['browser_cpu']:.3f}"
        print(f"| {name} | {one['seconds']:.3f} | {shown} | < {limit} | {verdict(one['seconds'] < limit)} |")
    print(f"| the server's peak of memory, GiB | {on['peak_gib']:.2f} | | < {GIB} | {verdict(on['peak_gib'] < GIB)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("results/cpu/grokking"), help="a page with weights"
    )
    parser.add_argument("--steps", type=int, default=30, help="of the slider (30)")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = parser.parse_args()
    if not (given.folder / "runs").is_dir():
        parser.error(
            f"{given.folder} has no runs/: run `toylab run grokking` first, or give a page's folder with weights"
        )
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((place for name in names if (place := shutil.which(name))), None)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=path, args=root)
        found: dict[str, Any] = {"environment": environment(), "cores": n_cores(), "load": os.getloadavg()[0]}
        found["live"] = live(browser, given.folder, given.steps)
        found["brush"] = many(browser)
        found["exported"] = exported(browser, given.folder)
        browser.close()
    report(found)
    keep(found, given.json)


if __name__ == "__main__":
    main()
