"""Circuit discovery: methods that look for a circuit, tried where the circuit is known, and on a trained induction model.

Claim     On networks written by hand every edge of the graph is known to matter or not. ACDC with zero ablation finds
          exactly the true ones; resampling misses what is the same in every input (positions, constants); the KL divergence
          is blind to outputs that are no log-probabilities; edge attribution patching is blind behind saturated patterns,
          unless its gradient is averaged along the way. A trained induction model has the edge from the previous-token head
          to the induction head's key, and the naive account of that head explains part of its loss.
Source    Conmy et al. 2023, Towards automated circuit discovery (arXiv 2304.14997), with its warning on KL; Syed et al.
          2023, Attribution patching outperforms automated circuit discovery (2310.10348); Lindner et al. 2023, Tracr
          (2301.05062); Chan et al. 2022, Causal scrubbing. Programs and weights of parts 1 and 2 are our own.
Expect    Induction machine: 7 of 19 edges, precision and recall 1; resampling finds 5. Programs: 5 of 32, 5 of 13 and 10 of
          59 edges, all found by squared distance; by KL none of frac_prevs' (one number has no distribution). Trained: the
          path from previous-token head to the induction head's key is the strongest between heads. Chan et al. explain 35 %
          of an induction head's loss by the naive account in a language model; here it is 95 %.
Cost      cpu: 2 to 3 minutes on one core, a third of it three trainings of 3,000 steps. paper: 8 seeds.
Command   python run_sweep.py circuit_discovery [--scale smoke|cpu|paper] [--part machine|programs|trained]
Fails     (cpu) The edge to the induction head's key ranks second or third of twelve, and second by path patching in one
          seed. Both heads of layer 1 become induction heads (scores 0.80 and 0.81, 0.75 and 0.81), and the one with the
          higher score is not the one whose key edge matters more: that edge, to the other's key, comes first. In one
          seed an edge from the other head of layer 0 into its value lies between.
Changed   After a first run: the claim on the strongest edge was added beside the failing ranks; the figure shows the edges
          to both keys; the share that the naive account explains, first only reported, got the paper's 35 % as bound.
"""

from typing import Any

import numpy as np

from toylab.analysis import circuit_search, discovery, recovery
from toylab.analysis.attention.edges import Graph
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import FractionOfPrevious, Histogram, InductionMachine, Net, Reverse, Transformer
from toylab.optim import AdamW
from toylab.plots import circuit_graph
from toylab.plots import discovery as plots
from toylab.tasks import Program, RepeatedBlocks

CONMY, SYED, OURS = "Conmy et al. 2023", "Syed et al. 2023", "by construction"
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


def machines(seeds: int, d_vocab: int = 13, n_ctx: int = 17, **task: Any) -> list[Config]:
    """The exact machine, and as many with noise on every weight."""
    program = Program("induction", d_vocab=d_vocab, n_ctx=n_ctx, **task)
    nets = [Net.of(InductionMachine, d_vocab=d_vocab, n_ctx=n_ctx, noise=noise) for noise in (0.0, *[NOISE] * seeds)]
    return [Config(program, net, AdamW(), seed=max(i - 1, 0)) for i, net in enumerate(nets)]


def exact(m: Measures, name: str) -> np.ndarray:
    """[2, …] of the machine without noise: by what cut edges carry."""
    return m[f"final/edges/{name}"][m["config/net.noise"] == 0][0]


def noisy(m: Measures, name: str) -> np.ndarray:
    """[seeds, 2, …] of those with noise."""
    return m[f"final/edges/{name}"][m["config/net.noise"] > 0]


def machine_rates(m: Measures, substitute: int, which: int) -> np.ndarray:
    """The lowest precision (0) or recall (1) over thresholds up to 100, by squared distance."""
    low = circuit_search.THRESHOLDS <= 100
    return recovery.padded_rates(exact(m, "kept")[None, substitute, 0, low], [TRUE])[which].min(axis=1)


def machine_circuits(m: Measures) -> Any:
    """At threshold 1 for ACDC, and at 1e-3 of the largest score for attribution."""
    found = *exact(m, "kept")[:, 0, at_threshold(1)], *recovery.strong(exact(m, "scores")[0], 1e-3)
    names = "ACDC, zero", "ACDC, resample", "attribution", "integrated attribution"
    return circuit_graph.compared(MACHINE.senders, MACHINE.receivers, dict(zip(names, found, strict=True)), TRUE)


def receiver_curves(m: Measures) -> Any:
    """ROC of the machines with noise: ACDC by its thresholds, the others by their scores."""
    panels = {}
    for at, carried in enumerate(("nothing", "another input")):
        kept, effects, scores = (noisy(m, name)[:, at] for name in ("kept", "effects", "scores"))
        methods = {"single edges": effects[:, 0], "attribution": scores[:, 0], "integrated attribution": scores[:, 1]}
        panels[f"cut edges carry: {carried}"] = recovery.compared_roc(kept[:, 0], methods, TRUE, MACHINE.edges)
    return plots.roc_curves(panels)


MACHINES = Part(
    configs={"smoke": machines(1, 5, 7, n_eval=4), "cpu": machines(3), "paper": machines(16)},
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0,)),
    final={"edges": circuit_search.program_edges},
    claims=[
        Claim("induction machine: lowest precision of ACDC with zero ablation over thresholds 1e-4 to 100",
              OURS, lambda m: machine_rates(m, 0, 0), 1, each="machine"),
        Claim("and lowest recall", OURS, lambda m: machine_rates(m, 0, 1), 1, each="machine"),
        Claim("with resampling the two edges that carry positions are missed: recall", f"{OURS}: 5/7",
              lambda m: machine_rates(m, 1, 1), 5 / 7 - 1e-6, 5 / 7 + 1e-6, each="machine"),
        Claim("edge attribution: true edges whose score is below 1e-6 of the largest", f"{OURS}: the 5 behind patterns",
              lambda m: np.array([recovery.n_faint(exact(m, "scores")[0, 0], TRUE, 1e-6)]), 5, 5, each="machine"),
        Claim("gradient averaged on the way: area under the ROC curve", OURS,
              lambda m: recovery.areas(exact(m, "scores")[:1, 1], TRUE, MACHINE.edges), 1, each="machine"),
        Claim("noise on every weight: F1 of ACDC with zero ablation at its best threshold", f"{CONMY}; the bound is ours",
              lambda m: np.asarray(discovery.best_f1(noisy(m, "kept")[:, 0, 0], TRUE)), 0.9, each="seed"),
    ],
    figures={"machine_circuits": machine_circuits, "machine_roc": receiver_curves},
)  # fmt: skip


# --- programs

PROGRAMS: dict[
    str, tuple[type, int, int, int, int]
] = {  # module, d_vocab, n_ctx, layers, true edges that vary over inputs
    "induction": (InductionMachine, 13, 17, 2, 5),
    "frac_prevs": (FractionOfPrevious, 4, 8, 2, 3),
    "hist": (Histogram, 4, 8, 1, 4),
    "reverse": (Reverse, 5, 6, 3, 6),
}


def programs() -> list[Config]:
    sizes: dict[str, dict[str, Any]] = {k: {"d_vocab": v, "n_ctx": n} for k, (_, v, n, *_) in PROGRAMS.items()}
    return [Config(Program(name, **own), Net.of(PROGRAMS[name][0], **own), AdamW()) for name, own in sizes.items()]


def known(m: Measures) -> list[tuple[Graph, np.ndarray]]:
    """Each program's graph and its true edges."""
    return [graph_of(PROGRAMS[str(name)][0], PROGRAMS[str(name)][3]) for name in m["config/task.name"]]


def program_rates(m: Measures, substitute: int, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall [programs, thresholds] of ACDC."""
    return recovery.padded_rates(m["final/edges/kept"][:, substitute, distance], [true for _, true in known(m)])


def of_programs(m: Measures, values: np.ndarray, *names: str) -> np.ndarray:
    """The values of some programs; nan if none of them was run."""
    found = values[np.isin(m["config/task.name"], names)]
    return found if len(found) else np.array([np.nan])


def unseen_by_resampling(m: Measures) -> np.ndarray:
    """True edges that ACDC with resampling misses, less those that carry the same on every input."""
    recall = program_rates(m, 1, 0)[1][:, at_threshold(1e-3)]
    n_true = np.array([true.sum() for _, true in known(m)])
    return np.round((1 - recall) * n_true) - (
        n_true - np.array([PROGRAMS[str(name)][4] for name in m["config/task.name"]])
    )


def recalls(m: Measures) -> Any:
    panels: dict[str, dict[str, np.ndarray]] = {str(name): {} for name in m["config/task.name"]}
    for i, j in np.ndindex(2, 2):
        for name, recall in zip(m["config/task.name"], program_rates(m, i, j)[1], strict=True):
            panels[str(name)][f"{SUBSTITUTES[i]}, {DISTANCES[j]}"] = recall
    return plots.recall_curves(circuit_search.THRESHOLDS, panels)


def compiled_circuit(m: Measures) -> Any:
    """The largest program's: what ACDC finds at threshold 0.001 by zero ablation and by resampling, and by KL at 0.1."""
    (graph, true), kept = known(m)[-1], m["final/edges/kept"][-1]
    found = kept[0, 0, at_threshold(1e-3)], kept[1, 0, at_threshold(1e-3)], kept[0, 1, at_threshold(0.1)]
    names = "zero, squared, 0.001", "resample, squared, 0.001", "zero, KL, 0.1"
    masks = {name: own[: len(true), : true.shape[1]] for name, own in zip(names, found, strict=True)}
    return circuit_graph.compared(graph.senders, graph.receivers, masks, true)


COMPILED = Part(
    configs={"smoke": machines(1, 5, 7, n_eval=4), "cpu": programs(), "paper": programs()},
    saves=dict.fromkeys(("smoke", "cpu", "paper"), (0,)),
    final={"edges": circuit_search.program_edges},
    claims=[
        Claim("programs: accuracy", OURS, lambda m: m.last("accuracy"), 1, each="program"),
        Claim("precision of ACDC, zero ablation, squared distance, threshold 0.001", f"{OURS}; {CONMY}: exact on tracr",
              lambda m: program_rates(m, 0, 0)[0][:, at_threshold(1e-3)], 1, each="program"),
        Claim("and recall", f"{OURS}; {CONMY}: exact on tracr",
              lambda m: program_rates(m, 0, 0)[1][:, at_threshold(1e-3)], 1, each="program"),
        Claim("missed by resampling beyond what is the same on every input: edges", OURS, unseen_by_resampling, 0, 0,
              unit="edges", each="program"),
        Claim("KL on a single number (frac_prevs): highest recall over thresholds", f"{CONMY}: KL is wrong here",
              lambda m: of_programs(m, program_rates(m, 0, 1)[1].max(axis=1), "frac_prevs"), high=0, each="program"),
        Claim("one-hot outputs at threshold 0.1: recall by squared distance less recall by KL",
              f"{CONMY}: KL is wrong here; the bound is ours",
              lambda m: of_programs(m, (program_rates(m, 0, 0)[1] - program_rates(m, 0, 1)[1])[:, at_threshold(0.1)],
                                    "hist", "reverse"), 0.5, each="program"),
    ],
    figures={"programs_recall": recalls, "program_circuit": compiled_circuit},
)  # fmt: skip


# --- a trained induction model


def trained(seeds: int, task: RepeatedBlocks = RepeatedBlocks(), d_model: int = 32) -> list[Config]:  # noqa: B008
    """The two-layer model of the page on induction."""
    net = Net.of(
        Transformer, d_vocab=task.d_vocab, d_vocab_out=task.d_vocab, n_ctx=task.n_ctx, n_layers=2, n_heads=2,
        d_model=d_model, d_mlp=0, readout="all",
    )  # fmt: skip
    return [
        Config(task, net, AdamW(lr=3e-3, weight_decay=0.01, warmup=20, clip=1.0), seed=seed) for seed in range(seeds)
    ]


def pair(m: Measures) -> tuple[np.ndarray, np.ndarray]:
    """[R], [R]: the head of layer 0 with the highest previous-token score, of layer 1 with the highest induction score."""
    return m["final/heads/previous_token"][:, 0].argmax(axis=1), m["final/heads/induction"][:, 1].argmax(axis=1)


TRAINED = Graph(2, 2)
BETWEEN = TRAINED.between(0, 1)  # from heads of layer 0 to inputs of layer 1
TAU = discovery.nearest(circuit_search.TAUS, 0.1)


def key_edge(m: Measures) -> list[tuple[int, int]]:
    """From the previous-token head to the induction head's key, for each run."""
    return [TRAINED.at(f"0.{a}", f"1.{b}.k") for a, b in zip(*pair(m), strict=True)]


def to_keys(m: Measures) -> np.ndarray:
    """[R, S, R]: the edges from the previous-token head to both keys of layer 1."""
    return np.stack([TRAINED.mask([(f"0.{a}", f"1.{b}.k") for b in range(2)]) for a in pair(m)[0]])


def trained_circuits(m: Measures) -> Any:
    """ACDC with resampling at τ = 0.1; width: KL of the edge cut alone."""
    found = list(zip(m["final/circuit/kept"][:, 1, TAU], m["edges/KL"][:, -1, 1], strict=True))[: min(3, len(m.valid))]
    panels = {f"seed {seed}": circuit_graph.Found(kept, weight=effects) for seed, (kept, effects) in enumerate(found)}
    return circuit_graph.circuits(TRAINED.senders, TRAINED.receivers, panels, "KL when cut alone")


def maps(m: Measures) -> Any:
    """The first seed's."""
    return plots.induction_patching(*(m[f"final/patching/{name}"][0] for name in ("residual", "z", "paths")))


def formation(m: Measures) -> Any:
    """Edges from the previous-token head to both keys: both heads of layer 1 become induction heads."""
    shown = slice(min(3, len(m.valid)))
    effects, loss = m["edges/KL"][shown, :, 1][..., BETWEEN], m["second_half_loss"][shown]
    chosen, name = to_keys(m)[shown][:, BETWEEN], "previous-token head → keys of layer 1"
    return plots.edges_through_training(m.steps, loss, effects, chosen, name)


def shares(m: Measures) -> Any:
    names = "query:\nthis token", "key:\nprevious token", "value:\nthis token", "all\nthree"
    return plots.explained(m["final/scrubbing/explained"], names)


SAVES = (0, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1300, 1800, 2400, 3000)
INDUCTION = Part(
    configs={
        "smoke": trained(1, RepeatedBlocks(8, 8, 2, 4, batch_size=8, n_eval=16), 8),
        "cpu": trained(3), "paper": trained(8),
    },
    saves={"smoke": (0, 5), "cpu": SAVES, "paper": SAVES},
    final={
        "heads": circuit_search.attention_scores,
        "circuit": circuit_search.trained_circuit,
        "patching": circuit_search.patching,
        "scrubbing": circuit_search.scrub,
    },
    analyses={"edges": circuit_search.edge_effects},
    claims=[
        Claim("trained induction model: second-half loss", "our reference training: 0.25 to 0.29; the bound is its page's",
              lambda m: m.last("second_half_loss"), high=0.5, unit="nats", each="seed"),
        Claim("ACDC (resampling, KL, τ = 0.1) keeps previous-token head → induction head's key: 1 if so",
              "Elhage et al. 2021: K-composition; τ is ours",
              lambda m: recovery.at_edges(m["final/circuit/kept"][:, 1, TAU], key_edge(m)), 1, each="seed"),
        Claim("its rank among the 12 edges between heads, each cut alone (KL, resampling)",
              "Elhage et al. 2021; the bound is ours",
              lambda m: recovery.ranks(m["edges/KL"][:, -1, 1], key_edge(m), BETWEEN), high=1, each="seed"),
        Claim("the strongest edge between heads goes from the previous-token head to a key: 1 if so (KL, resampling)",
              "Elhage et al. 2021: K-composition",
              lambda m: recovery.at_edges(to_keys(m), recovery.strongest(m["edges/KL"][:, -1, 1], BETWEEN)), 1,
              each="seed"),
        Claim("rank of the edge to the induction head's key by edge attribution (resampling)", f"{SYED}; the bound is ours",
              lambda m: recovery.ranks(m["final/circuit/scores"][:, 1, 0], key_edge(m), BETWEEN), high=1, each="seed"),
        Claim("and among the 12 paths between heads by path patching", "Elhage et al. 2021; the bound is ours",
              lambda m: recovery.ranks(m["final/patching/paths"], [(1, a, b) for a, b in zip(*pair(m), strict=True)]),
              high=1, each="seed"),
        Claim("causal scrubbing: share of second-half loss that the naive account explains",
              "Chan et al. 2022: 35 % in a language model", lambda m: m["final/scrubbing/explained"][:, -1],
              0.35, each="seed"),
    ],
    figures={"trained_circuits": trained_circuits, "patching": maps, "formation": formation, "scrubbing": shares},
)  # fmt: skip

PARTS = {"machine": MACHINES, "programs": COMPILED, "trained": INDUCTION}
