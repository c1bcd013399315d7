"""Circuit discovery: methods that look for a circuit, tried where the circuit is known, and on a trained induction model.

Claim     On networks written by hand every edge of the graph is known to matter or not. ACDC with zero ablation finds
          exactly the true ones. Edge attribution is blind behind saturated patterns, unless its gradient is averaged
          along the way. In a trained induction model the strongest edges between heads go from the previous-token head to
          the keys of the induction heads, whose naive account explains nearly all of their loss.
Source    Conmy et al. 2023, Towards automated circuit discovery (arXiv 2304.14997), with its warning on KL; Syed et al.
          2023, Attribution patching outperforms … (2310.10348); Lindner et al. 2023, Tracr (2301.05062); Chan et al.
          2022, Causal scrubbing. Programs and weights of parts 1 and 2 are our own.
Expect    Programs: 5 of 32, 5 of 13, 10 of 59 and 7 of 19 edges, all found. Syed et al. have attribution above ACDC on
          three tasks of GPT-2. Trained: from the previous-token head to keys. Chan et al. explain only 35 % of an
          induction head's loss by the naive account in a language model.
Cost      cpu: 12 minutes on one busy core: 20 machines with noise, 20 trainings. paper: the same.
Command   python run_sweep.py circuit_discovery [--scale smoke|cpu|paper] [--part machine|programs|trained]
Fails     On the machine edge attribution is below ACDC in all of 20 seeds (area −0.41, −0.42 to −0.39), not above it as
          in GPT-2; so it is with another input in cut edges, and with averaged gradients. The naive account explains
          0.957 of the loss (20 trainings), not 0.35. Either is as the set-up has it: saturated patterns have no gradient,
          and blocks that repeat leave nothing else to attend to (conjecture). Positive controls: ACDC finds every edge of
          all four programs, and an account in which nothing may depend on anything explains nothing. One training of 20
          (seed 2000) composes by queries: its previous-token head feeds the queries of layer 1, the edges to keys do
          nothing, and the naive account explains 0.22. So it is undecided whether ACDC keeps a key edge in 80 % of runs
          (19 of 20). The programs are four, written by hand, and no seed confirms what is said of them: exploratory.
Changed   Until this page was judged by rules, "the" induction head was the one of the higher score. Both heads of layer 1
          become induction heads, and the edge to either's key ranked first to third of twelve; edges are summed over both
          now. The naive account had to explain 35 % or more: in the paper that is how little it does. What holds by
          construction became tests. F1 gave way to areas under curves, which Syed et al. compare. Trainings of seeds 100
          to 107 saw the same batches; those from 2000 on have their own. At the first look, at 8 of them, three claims
          that had agreed were undecided; at the second, at 20, all three agree.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis import circuit_search, discovery, recovery
from toylab.analysis.attention.edges import Graph
from toylab.base import Config
from toylab.claims import Claim, Direction, Identity, Number, Proportion, Source, Within, analogue
from toylab.lab import Measures, Part
from toylab.models import FractionOfPrevious, Histogram, InductionMachine, Net, Reverse, Transformer
from toylab.optim import AdamW
from toylab.plots import circuit_graph
from toylab.plots import discovery as plots
from toylab.tasks import Program, RepeatedBlocks

CONMY, SYED, ELHAGE, CHAN = "Conmy et al. 2023", "Syed et al. 2023", "Elhage et al. 2021", "Chan et al. 2022"
SEEDS = range(100, 120)  # none of them has been trained
FRESH = range(2000, 2020)  # nor of these; 20 after a first look at 8, as the claims plan
BY_HAND = analogue("a network of 19 edges written by hand, noise of 0.03 on every weight; not GPT-2")
SUBSTITUTES, DISTANCES = ("zero", "resample"), ("squared distance", "KL")  # axes of what is found


def at_threshold(value: float) -> int:
    return discovery.nearest(circuit_search.THRESHOLDS, value)


def graph_of(module: type, n_layers: int) -> tuple[Graph, np.ndarray]:
    """A hand-built network's graph and its true edges [S, R]."""
    graph = Graph(n_layers, 1, mlps=module is not InductionMachine)
    return graph, graph.mask(module.EDGES)  # type: ignore[attr-defined]


# --- the induction machine

MACHINE, TRUE = graph_of(InductionMachine, 2)
NOISE = 0.03
METHODS = ("attribution", "integrated attribution")  # an axis of their scores


def machines(seeds: Sequence[int], d_vocab: int = 13, n_ctx: int = 17, **task: Any) -> list[Config]:
    """The exact machine, and one of each seed with noise on every weight."""
    program = Program("induction", d_vocab=d_vocab, n_ctx=n_ctx, **task)
    nets = [Net.of(InductionMachine, d_vocab=d_vocab, n_ctx=n_ctx, noise=noise) for noise in (0.0, NOISE)]
    of_seeds = [(nets[0], seeds[0]), *((nets[1], seed) for seed in seeds)]
    return [Config(program, net, AdamW(), seed=seed) for net, seed in of_seeds]


def noisy(m: Measures, name: str) -> np.ndarray:
    """[seeds, 2, …] of those with noise."""
    return m[f"final/edges/{name}"][m["config/net.noise"] > 0]


def area(m: Measures, method: str, at: int) -> np.ndarray:
    """Of the curve of each machine with noise, where cut edges carry nothing (0) or another input (1)."""
    if method == "ACDC":
        return np.asarray(discovery.threshold_roc(noisy(m, "kept")[:, at, 0], TRUE, MACHINE.edges)[2])
    return recovery.areas(noisy(m, "scores")[:, at, METHODS.index(method)], TRUE, MACHINE.edges)


def above(m: Measures, method: str, other: str, at: int = 0) -> np.ndarray:
    return area(m, method, at) - area(m, other, at)


def machine_circuits(m: Measures) -> Any:
    """Of the machine without noise, or with the least, at threshold 1 for ACDC, and at 1e-3 of the largest score for
    attribution."""
    kept, scores = (m[f"final/edges/{name}"][m["config/net.noise"].argmin()] for name in ("kept", "scores"))
    found = *kept[:, 0, at_threshold(1)], *recovery.strong(scores[0], 1e-3)
    names = "ACDC, zero", "ACDC, resample", "attribution", "integrated attribution"
    return circuit_graph.compared(MACHINE.senders, MACHINE.receivers, dict(zip(names, found, strict=True)), TRUE)


def receiver_curves(m: Measures) -> Any:
    """ROC of the machines with noise: ACDC by its thresholds, the others by their scores."""
    panels = {}
    for at, carried in enumerate(("nothing", "another input")):
        kept, effects, scores = (noisy(m, name)[:, at] for name in ("kept", "effects", "scores"))
        methods = {"single edges": effects[:, 0], **{name: scores[:, i] for i, name in enumerate(METHODS)}}
        panels[f"cut edges carry\n{carried}"] = recovery.compared_roc(kept[:, 0], methods, TRUE, MACHINE.edges)
    return plots.roc_curves(panels)


MACHINES = Part(
    configs={"smoke": machines([0], 5, 7, n_eval=4), "cpu": machines(SEEDS), "paper": machines(SEEDS)},
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0,)),
    final={"edges": circuit_search.program_edges},
    claims=[
        Claim("machine with noise: area under the curve, edge attribution less ACDC",
              Source(SYED, "figure of ROC curves", "above ACDC on three tasks"),
              partial(above, method="attribution", other="ACDC"), Direction(), fidelity=BY_HAND, each="seed",
              variants={"another input in cut edges": partial(above, method="attribution", other="ACDC", at=1),
                        "integrated": partial(above, method="integrated attribution", other="ACDC")}),
        Claim("machine with noise: area, gradient averaged on the way less at the network",
              Source("Hanna et al. 2024", "integrated gradients", "goes beyond: behind saturated patterns"),
              partial(above, method="integrated attribution", other="attribution"), Direction(), "finding", each="seed",
              variants={"another input": partial(above, method="integrated attribution", other="attribution", at=1)}),
    ],
    figures={"machine_circuits": machine_circuits, "machine_roc": receiver_curves},
)  # fmt: skip


# --- programs
PROGRAMS: dict[str, tuple[type, int, int, int]] = {  # module, d_vocab, n_ctx, layers
    "induction": (InductionMachine, 13, 17, 2), "frac_prevs": (FractionOfPrevious, 4, 8, 2),
    "hist": (Histogram, 4, 8, 1), "reverse": (Reverse, 5, 6, 3),
}  # fmt: skip


def programs() -> list[Config]:
    sizes: dict[str, dict[str, Any]] = {k: {"d_vocab": v, "n_ctx": n} for k, (_, v, n, *_) in PROGRAMS.items()}
    return [Config(Program(name, **own), Net.of(PROGRAMS[name][0], **own), AdamW()) for name, own in sizes.items()]


def known(m: Measures) -> list[tuple[Graph, np.ndarray]]:
    """Each program's graph and its true edges."""
    return [graph_of(PROGRAMS[str(name)][0], PROGRAMS[str(name)][3]) for name in m["config/task.name"]]


def program_rates(m: Measures, substitute: int, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall [programs, thresholds] of ACDC."""
    return recovery.padded_rates(m["final/edges/kept"][:, substitute, distance], [true for _, true in known(m)])


def program_rate(m: Measures, which: int, threshold: float = 1e-3) -> np.ndarray:
    """Precision (0) or recall (1) of ACDC with zero ablation by squared distance."""
    return program_rates(m, 0, 0)[which][:, at_threshold(threshold)]


def recalls(m: Measures) -> Any:
    panels: dict[str, dict[str, np.ndarray]] = {str(name): {} for name in m["config/task.name"]}
    for i, j in np.ndindex(2, 2):
        for name, recall in zip(m["config/task.name"], program_rates(m, i, j)[1], strict=True):
            panels[str(name)][f"{SUBSTITUTES[i]}, {DISTANCES[j]}"] = recall
    return plots.recall_curves(circuit_search.THRESHOLDS, panels)


def compiled_circuit(m: Measures) -> Any:
    """The largest program's: what ACDC finds at threshold 0.001 by zero ablation and by resampling, and by KL at 0.1."""
    at = int(np.argmax([true.size for _, true in known(m)]))
    (graph, true), kept, name = known(m)[at], m["final/edges/kept"][at], m["config/task.name"][at]
    found = kept[0, 0, at_threshold(1e-3)], kept[1, 0, at_threshold(1e-3)], kept[0, 1, at_threshold(0.1)]
    names = "zero, squared, 0.001", "resample, squared, 0.001", "zero, KL, 0.1"
    masks = {f"{name}: {how}": own[: len(true), : true.shape[1]] for how, own in zip(names, found, strict=True)}
    return circuit_graph.compared(graph.senders, graph.receivers, masks, true)


TRACR = Source(CONMY, "tracr models", "ACDC with zero ablation recovers the circuit of both programs exactly", 2)
COMPILED = Part(
    configs={"smoke": machines([0], 5, 7, n_eval=4), "cpu": programs(), "paper": programs()},
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0,)),
    final={"edges": circuit_search.program_edges},
    claims=[
        Claim(f"programs: {which} of ACDC with zero ablation, squared distance, threshold 0.001", TRACR,
              partial(program_rate, which=i), Identity(1), fidelity=analogue("programs compiled by hand, not by Tracr"),
              each="program", event="exact circuits", variants={
                  f"threshold {value:g}": partial(program_rate, which=i, threshold=value) for value in (1e-4, 0.01)})
        for i, which in enumerate(("precision", "recall"))
    ],
    figures={"programs_recall": recalls, "program_circuit": compiled_circuit},
)  # fmt: skip


# --- a trained induction model


def trained(seeds: Sequence[int], task: RepeatedBlocks = RepeatedBlocks(), d_model: int = 32) -> list[Config]:  # noqa: B008
    """The two-layer model of the page on induction, positions in the residual."""
    net = Net.of(
        Transformer, d_vocab=task.d_vocab, d_vocab_out=task.d_vocab, n_ctx=task.n_ctx, n_layers=2, n_heads=2,
        d_model=d_model, d_mlp=0, readout="all",
    )  # fmt: skip
    return [
        Config(task, net, AdamW(lr=3e-3, weight_decay=0.01, warmup=20, clip=1.0), seed, data_seed=seed)
        for seed in seeds
    ]


SMALL = RepeatedBlocks(8, 8, 2, 4, batch_size=8, n_eval=16)
TRAINED = Graph(2, 2)
BETWEEN = TRAINED.between(0, 1)  # from heads of layer 0 to inputs of layer 1
TAU = discovery.nearest(circuit_search.TAUS, 0.1)


def previous_token_head(m: Measures) -> np.ndarray:
    return m["final/heads/previous_token"][:, 0].argmax(axis=1)


def to_keys(m: Measures) -> np.ndarray:
    """[R, S, R]: the edges from the previous-token head to both keys of layer 1."""
    return np.stack([TRAINED.mask([(f"0.{a}", f"1.{b}.k") for b in range(2)]) for a in previous_token_head(m)])


def lead_of_keys(m: Measures, summed: np.ndarray) -> np.ndarray:
    """What the previous-token head gives the keys of layer 1 less the most of all else. `summed` is [R, heads of layer 0,
    q k v], summed over heads of layer 1, both of which become induction heads."""
    head, way = np.arange(summed.shape[1])[:, None], np.arange(3)
    at = (head == previous_token_head(m)[:, None, None]) & (way == 1)  # the key
    return summed[at] - np.where(at, -np.inf, summed).max(axis=(1, 2))


def by_edges(m: Measures, name: str = "edges/KL", at: tuple[int, ...] = (-1, 1)) -> np.ndarray:  # each cut alone
    values = m[name][:, *at]  # type: ignore[arg-type]
    summed = [
        [sum(values[:, *TRAINED.at(f"0.{a}", f"1.{b}.{way}")] for b in range(2)) for way in "qkv"] for a in range(2)
    ]
    return lead_of_keys(m, np.moveaxis(np.array(summed), -1, 0))


def by_paths(m: Measures) -> np.ndarray:
    return lead_of_keys(m, m["final/patching/paths"].sum(axis=3).transpose(0, 2, 1))


def keeps_keys(m: Measures, tau: int = TAU) -> np.ndarray:
    """Whether ACDC by resampling and KL keeps an edge from the previous-token head to a key."""
    return (m["final/circuit/kept"][:, 1, tau] & to_keys(m)).any(axis=(1, 2)).astype(float)


def naive(m: Measures) -> np.ndarray:
    """Share of the second-half loss that the naive account of all three inputs explains."""
    return m["final/scrubbing/explained"][:, -1]


def trained_circuits(m: Measures) -> Any:
    """ACDC with resampling at τ = 0.1; width: KL of the edge cut alone."""
    found = zip(m["config/seed"][:3], m["final/circuit/kept"][:3, 1, TAU], m["edges/KL"][:3, -1, 1], strict=True)
    panels = {f"seed {seed}": circuit_graph.Found(kept, weight=effects) for seed, kept, effects in found}
    return circuit_graph.circuits(TRAINED.senders, TRAINED.receivers, panels, "KL when cut alone")


def maps(m: Measures) -> Any:
    """Of the run in which path patching by the keys leads by the median."""
    run = np.argsort(by_paths(m))[(len(m.valid) - 1) // 2]
    return plots.induction_patching(*(m[f"final/patching/{name}"][run] for name in ("residual", "z", "paths")))


def formation(m: Measures) -> Any:
    effects, chosen = m["edges/KL"][:3, :, 1][..., BETWEEN], to_keys(m)[:3][:, BETWEEN]
    name, runs = "previous-token head → keys of layer 1", [f"seed {seed}" for seed in m["config/seed"][:3]]
    return plots.edges_through_training(m.steps, m["second_half_loss"][:3], effects, chosen, name, runs)


def shares(m: Measures) -> Any:
    names = "query:\nthis token", "key:\nprevious token", "value:\nthis token", "all\nthree"
    explained, *both = (m[f"final/scrubbing/{name}"] for name in ("explained", "scrubbed", "random"))
    losses = dict(zip(("under the hypothesis", "nothing may depend on anything"), both, strict=True))
    return plots.explained(explained, losses, names, {"language model, Chan et al. 2022: 0.35": 0.35})


SAVES = (0, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1300, 1800, 2400, 3000)
TOY = analogue("repeated blocks of 32 random tokens, not language; two layers of two heads, 32 dimensions")
K_ALONE = Source(ELHAGE, "two-layer models", "K-composition of a previous-token head with induction heads")
LATER = (8, 20)  # numbers of seeds at which these are judged
INDUCTION = Part(
    configs={"smoke": trained([0], SMALL, 8), "cpu": trained(FRESH), "paper": trained(FRESH)},
    saves={"smoke": (0, 5), "cpu": SAVES, "paper": SAVES},
    final={
        "heads": circuit_search.attention_scores, "circuit": circuit_search.trained_circuit,
        "patching": circuit_search.patching, "scrubbing": circuit_search.scrub,
    },
    analyses={"edges": circuit_search.edge_effects},
    claims=[
        Claim("trained: KL of cutting the edges from the previous-token head to keys less that of any others of a head",
              K_ALONE, by_edges, Direction(), fidelity=TOY, looks=LATER, unit="nats", each="seed", event="key edges",
              variants={"cut edges carry nothing": partial(by_edges, at=(-1, 0)),
                        "edge attribution": partial(by_edges, name="final/circuit/scores", at=(1, 0))}),
        Claim("trained: share that path patching restores by these edges less that by any others", K_ALONE, by_paths,
              Direction(), fidelity=TOY, looks=LATER, each="seed", event="key edges"),
        Claim("trained: ACDC (resampling, KL, τ = 0.1) keeps an edge from the previous-token head to a key",
              Source(CONMY, "induction task", "the edge from the previous-token head to the keys is found"), keeps_keys,
              Proportion(least_share=0.8), fidelity=TOY, looks=LATER, each="seed",
              variants={f"τ = {circuit_search.TAUS[i]:.2g}": partial(keeps_keys, tau=i) for i in (TAU - 1, TAU + 1)}),
        Claim("causal scrubbing: share of second-half loss that the naive account explains",
              Source(CHAN, "induction heads, part 3", "only 35 % in a language model", 1), naive, Number(0.35, 0.3),
              fidelity=TOY, looks=LATER, each="seed", event="naive account"),
        Claim("causal scrubbing: the naive account explains nearly all in a model of blocks alone",
              Source(CHAN, "induction heads, part 3", "goes beyond: 89 % by a refined account"), naive, Within(low=0.9),
              "finding", each="seed", looks=LATER, event="naive account"),
    ],
    figures={"trained_circuits": trained_circuits, "patching": maps, "formation": formation, "scrubbing": shares},
)  # fmt: skip

PARTS = {"machine": MACHINES, "programs": COMPILED, "trained": INDUCTION}
