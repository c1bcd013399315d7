"""What a lab page is (see experiments/), and its three stages: train → runs/, analyze → measures.npz and claims.json,
draw → figures/. Each can be run again alone; draw needs only the small committed files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import numpy as np

from toylab import configs as cfg
from toylab import store, sweep
from toylab.analysis import analyze as analyze_over_runs
from toylab.analysis import together
from toylab.base import Analyzer, Config, Run
from toylab.train import data as data_of

Arrays = dict[str, np.ndarray]
Scale = Literal["smoke", "cpu", "paper"]


class Measures(dict[str, np.ndarray]):
    """Everything that was measured: arrays [R, T, …] by name (task measures by their own, analyses as `analysis/key`,
    those of the last point as `final/analysis/key` [R, …]), with `steps` [T] and `valid` [R, T]."""

    @property
    def steps(self) -> np.ndarray:
        return self["steps"]

    @property
    def valid(self) -> np.ndarray:
        return self["valid"]

    def last(self, name: str) -> np.ndarray:
        """[R, …]: the value at each run's last saved point."""
        at = self.valid.sum(axis=1) - 1
        return self[name][np.arange(len(at)), at]

    def first_step(self, true: np.ndarray) -> np.ndarray:
        """[R]: the first saved step at which `true` [R, T] holds; nan where it never does."""
        true = true & self.valid
        return np.where(true.any(axis=1), self.steps[true.argmax(axis=1)], np.nan)


@dataclass(frozen=True)
class Claim:
    """A paper's finding as code: a quantity of each run and the bounds within which the finding holds for it."""

    name: str
    source: str  # paper, section or figure, and the number it gives
    quantity: Callable[[Measures], np.ndarray]  # → [R]
    low: float = -np.inf
    high: float = np.inf
    unit: str = ""

    def judge(self, measures: Measures) -> dict[str, Any]:
        """The claim with the value of every run and its verdict: it holds if it holds for every run; nan does not hold."""
        values = np.asarray(self.quantity(measures), float)
        holds = (values >= self.low) & (values <= self.high)
        return {
            "name": self.name,
            "source": self.source,
            "bound": self.bound,
            "values": [float(f"{value:.6g}") if np.isfinite(value) else None for value in values],
            "holds": holds.tolist(),
            "verdict": "holds"
            if holds.all()
            else f"holds for {holds.sum()} of {len(holds)}"
            if holds.any()
            else "fails",
        }

    @property
    def bound(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if np.isneginf(self.low):
            return f"≤ {self.high:g}{unit}"
        return f"≥ {self.low:g}{unit}" if np.isposinf(self.high) else f"{self.low:g} to {self.high:g}{unit}"


class Page(Protocol):
    """A module of experiments/: its docstring opens with claim, source figure, expected number, cost and command."""

    __name__: str
    CONFIGS: Mapping[Scale, Sequence[Config]]
    SAVES: Mapping[Scale, Sequence[int]]
    STOP: Mapping[Scale, Callable[[Arrays], bool] | None]
    MILESTONE: tuple[str, Callable[[Arrays], np.ndarray]]  # what the progress display counts: of measures [R, t] → [R]
    PROBES: Mapping[str, Analyzer]
    FINAL: Mapping[str, Analyzer]  # at each run's last point; found there, `run.final["name/key"]` for ANALYSES
    ANALYSES: Mapping[str, Analyzer]  # at every saved point
    CLAIMS: Sequence[Claim]
    FIGURES: Mapping[str, Callable[[Measures], Any]]


def spec(page: Page, scale: Scale, **start: Any) -> sweep.Spec:
    return sweep.Spec(saves=page.SAVES[scale], stop=page.STOP[scale], probes=page.PROBES, **start)


def rehearse(page: Page, configs: Sequence[Config]) -> None:
    """Traces every analyzer on shapes alone, so that one that does not fit a config fails before anything is trained."""
    for members in sweep.groups(configs).values():
        params = jax.eval_shape(members[0].net.init, jax.random.key(0))
        run = Run(config=members[0], data=jax.eval_shape(data_of, members[0]))
        final = jax.eval_shape(_together(page.FINAL), params, run) if page.FINAL else {}
        if page.ANALYSES:
            jax.eval_shape(_together(page.ANALYSES), params, run.replace(final=final))


def write_manifest(
    folder: Path, page: Page, scale: Scale, configs: Sequence[Config], command: str, commit: str
) -> None:
    """manifest.json: what was run, at which commit, in which environment; enough to run it again."""
    groups = {group.name: group for group in sweep.load(folder / "runs", params=False)}
    manifest = {
        "experiment": page.__name__.rsplit(".", 1)[-1],
        "scale": scale,
        "command": command,
        "commit": commit,
        "runs": {sweep.run_name(config): cfg.canonical(config) for config in configs},
        "groups": {
            name: {key: group.manifest[key] for key in ("plan", "environment", "saves", "stop", "started_from")}
            for name, group in groups.items()
        },
    }
    store.write_json(folder / "manifest.json", manifest)


def analyze(
    page: Page, configs: Sequence[Config], folder: Path, tell: Callable[[str], None], batch_size: int = 16
) -> list[dict[str, Any]]:
    """runs/ → measures.npz, runs.parquet, claims.json and claims.md; returns the judged claims."""
    named = sweep.groups(configs)
    if absent := set(named) - set(sweep.same_sweep(folder / "runs", named)):
        raise store.StoreError(
            f"{folder / 'runs'} lacks {len(absent)} of the {len(named)} groups: run the stage train first."
        )
    parts = []
    for group in sweep.load(folder / "runs"):
        for message in group.messages:
            tell(message)
        parts.append(_analyzed(page, named[group.name], group, batch_size))
    measures = Measures(_padded(parts))
    store.write_arrays(folder / "measures.npz", measures)
    sweep.write_table(folder / "runs", folder / "runs.parquet")
    claims = [claim.judge(measures) for claim in page.CLAIMS]
    store.write_json(folder / "claims.json", {"experiment": page.__name__.rsplit(".", 1)[-1], "claims": claims})
    store.write_text(folder / "claims.md", claims_table(claims))
    return claims


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """The judged claims in Markdown, as the README shows them."""
    rows = ["| claim | source | bound | value of each run | verdict |", "|---|---|---|---|---|"]
    for claim in claims:
        values = ", ".join("–" if value is None else f"{value:.4g}" for value in claim["values"])
        rows.append(f"| {claim['name']} | {claim['source']} | {claim['bound']} | {values} | {claim['verdict']} |")
    return "\n".join(rows) + "\n"


def _analyzed(page: Page, configs: Sequence[Config], group: sweep.Group, batch_size: int) -> Arrays:
    run = Run(config=cfg.stack(configs), data=_stacked_data(configs))
    last = group.valid.sum(axis=1) - 1
    ends = {name: value[np.arange(len(last)), last][:, None] for name, value in group.params.items()}
    final = {}
    if page.FINAL:
        found = analyze_over_runs(_together(page.FINAL), ends, run, batch_size=batch_size)
        final = {name: value[:, 0] for name, value in found.items()}
    out: Arrays = {}
    if page.ANALYSES:
        out = analyze_over_runs(_together(page.ANALYSES), group.params, run.replace(final=final), batch_size=batch_size)
        out = {name: _blanked(value, group.valid) for name, value in out.items()}
    return {
        "steps": group.steps,
        "valid": group.valid,
        **group.measures,
        **group.probes,
        **out,
        **{f"final/{name}": value for name, value in final.items()},
    }


_COMPOSED: dict[tuple[Any, ...], Analyzer] = {}


def _together(analyzers: Mapping[str, Analyzer]) -> Analyzer:
    """The same composed analyzer for the same parts: the compile cache is keyed on it."""
    return _COMPOSED.setdefault(tuple(analyzers.items()), together(**analyzers))


def _stacked_data(configs: Sequence[Config]) -> Any:
    make = jax.jit(data_of)
    return jax.tree.map(
        lambda *leaves: np.stack(leaves), *[jax.tree.map(np.asarray, make(config)) for config in configs]
    )


def _blanked(value: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """nan (or 0 where the dtype has none) after a run's end."""
    value = np.array(value)
    value[~valid] = np.nan if value.dtype.kind == "f" else 0
    return value


def _padded(parts: Sequence[Arrays]) -> Arrays:
    """Groups side by side over runs: one axis of all their steps, and nan where a group has no such point or size."""
    if len(parts) == 1:
        return dict(parts[0])
    steps = np.unique(np.concatenate([part["steps"] for part in parts]))
    names = dict.fromkeys(name for part in parts for name in part if name != "steps")
    return {"steps": steps, **{name: _side_by_side(name, parts, steps) for name in names}}


def _side_by_side(name: str, parts: Sequence[Arrays], steps: np.ndarray) -> np.ndarray:
    blocks = []
    present = [part[name] for part in parts if name in part]
    over_time = not name.startswith("final/")
    tail = np.max([value.shape[1 + over_time :] for value in present], axis=0).astype(int)
    for part in parts:
        n_runs, dtype = len(part["valid"]), present[0].dtype
        shape = (n_runs, *((len(steps),) if over_time else ()), *tail)
        block = np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)
        if name in part:
            value = part[name]
            inner = tuple(slice(n) for n in value.shape[1 + over_time :])
            points = (np.searchsorted(steps, part["steps"]),) if over_time else ()
            at: tuple[Any, ...] = (slice(None), *points, *inner)
            block[at] = value
        blocks.append(block)
    return np.concatenate(blocks)


def draw(page: Page, folder: Path) -> list[Path]:
    """measures.npz → figures/*.png."""
    from toylab.plots import style

    measures = Measures(store.read_arrays(folder / "measures.npz"))
    return [style.save(figure(measures), folder / "figures" / f"{name}.png") for name, figure in page.FIGURES.items()]
