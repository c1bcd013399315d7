"""Induction: two attention layers learn to copy what followed the present token before, abruptly; one layer does not.

Claim     On random blocks that repeat, the loss of attention-only transformers of two and three layers falls in a sudden
          step: heads find the token after the last occurrence of the present one, by K-composition with a previous-token
          head. One layer of as many parameters never does.
Source    Elhage et al. 2021 (K-composition, eigenvalues), Olsson et al. 2022, arXiv 2209.11895 (phase change), Bietti et
          al. 2023, arXiv 2306.00802, Hoogland et al. 2024 (what forms first). Theirs are models of language, or of bigrams.
Expect    Two and three layers: most of in-context learning within a factor 2 of steps, a bump of the loss, heads that match
          prefixes; one layer none. K-composition above Q and V. Of induction and previous-token heads either is said to be
          first. The released runs of Nanda et al. 2023 fall as abruptly: 4.5 at step 632, 1 at 1,077; their data cannot be
          had, so losses are not compared.
Cost      cpu: 68 networks (20 seeds of two layers, of one and of two with positions in the residual, 8 of three), 6
          minutes of one core and 1 for analyses, and one in pictures.
Command   python run_sweep.py induction [--scale smoke|cpu|paper] [--part networks|pictures]
Fails     Hoogland et al. see previous-token heads before induction heads; here the induction score is halfway 81 steps
          before the previous-token score (20 of 20 seeds; 152 with positions in the residual, 8 of 8), as Bietti et al.
          say. By ablation the order is the other one: the previous-token head is needed before its own score is
          halfway, with positions in the residual by 96 steps (56 to 179; 18 of 20 seeds, at the second look). In
          theirs bigrams can be learned before anything repeats, here nothing can (conjecture). That keys alone matter
          by ablation holds in 18 of 20 seeds, not surely in nearly every one; in 2 as much is lost through queries or
          values.
Changed   A first run, seeds 100 to 119, drew the same batches for every seed; its results are in the history. With
          batches of their own, seeds 120 to 139 spread up to 1.6 times as far (a standard deviation of 102 steps, not
          64, of the lead above), and 5 of 30 verdicts are others: two directions are no longer sure in nearly every
          seed, a finding is undecided, two are decided. Until this page was judged by rules it asked 16 bounds, most of
          them of one to four trainings of ours. These are tests now. One layer had positions in the residual; now it
          has them as the others, for queries and keys only. Three layers, the in-context score and the eigenvalues are
          new.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from toylab.analysis import circuits, composed, development, heads, induction, without
from toylab.base import Config
from toylab.claims import Claim, Direction, Proportion, Source, Within, analogue
from toylab.claims.claim import Quantity
from toylab.lab import Measures, Part, Scale
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.plots import composition, eigenvalues, order, stages
from toylab.plots.attention import patterns as attention
from toylab.tasks import RepeatedBlocks

SEEDS, FEW = range(120, 140), range(120, 128)  # none of them was trained before the claims were fixed
TASK = RepeatedBlocks()  # 32 tokens, periods 8 to 16 in a context of 32
SMALL = RepeatedBlocks(d_vocab=8, n_ctx=8, min_period=2, max_period=4, batch_size=8, n_eval=16)
OPTIMIZER = AdamW(lr=3e-3, weight_decay=0.01, warmup=20, clip=1.0)
Kind = tuple[int, str]  # layers, positions
TWO, TWO_ABS, ONE, THREE = (2, "shortformer"), (2, "abs"), (1, "shortformer"), (3, "shortformer")


def training(nets: Sequence[Kind], seeds: Sequence[int] = SEEDS, task: RepeatedBlocks = TASK) -> list[Config]:
    """Layers of two heads; a single layer has four, and so as many parameters as two."""
    sizes: dict[str, Any] = {"d_vocab": task.d_vocab, "d_vocab_out": task.d_vocab, "n_ctx": task.n_ctx, "d_model": 32}
    made = [
        Net.of(
            Transformer, **sizes, d_mlp=0, readout="all", n_layers=n, positions=positions, n_heads=4 if n == 1 else 2
        )
        for n, positions in nets
    ]
    return [Config(task, net, OPTIMIZER, seed, data_seed=seed) for net in made for seed in seeds]


def of(m: Measures, kind: Kind) -> Measures:
    """Runs of one network."""
    return m.runs((m["config/net.n_layers"] == kind[0]) & (m["config/net.positions"] == kind[1]))


def less(first: Measures, second: Measures, quantity: Quantity) -> np.ndarray:
    """A quantity of some runs less that of others of the same seed."""
    _, i, j = np.intersect1d(first["config/seed"], second["config/seed"], return_indices=True)
    return quantity(first)[i] - quantity(second)[j]


@cache
def random_heads(d_model: int, d_head: int) -> float:
    return circuits.random_composition(d_model, d_head)[0]


def baseline(m: Measures) -> float:
    """The composition of random heads of the runs' size."""
    d_model, n_heads, d_head = (int(m.only(f"config/net.{name}")) for name in ("d_model", "n_heads", "d_head"))
    return random_heads(d_model, d_head or d_model // n_heads)


def over_random(m: Measures) -> np.ndarray:
    return development.composed(m, "K")[:, -1] / baseline(m)


def copies(m: Measures) -> np.ndarray:
    """Whether the first head of one layer copies. Heads of a layer are alike, and one a run makes values independent."""
    return (of(m, ONE)["final/eigenvalues/copying"][:, 0, 0] > 0).astype(float)


# --- claims

OLSSON, ELHAGE, BIETTI = "Olsson et al. 2022", "Elhage et al. 2021", "Bietti et al. 2023"
TOY = analogue("repeated blocks of 32 random tokens, not language; 32 dimensions, two heads a layer")
CHANGE = Source(OLSSON, "argument 1", "most in-context learning comes in a phase change, at 2.5 to 5 billion tokens")
DEEPER = Source(OLSSON, "argument 1, figures", "phase change, bump and induction heads from two layers on, not in one")
K_ALONE = Source(ELHAGE, "two-layer models", "of compositions K alone is significant, with a previous-token head")
CORNER = Source(ELHAGE, "two-layer models", "induction heads lie in the corner of positive OV and QK eigenvalues")
TOP_DOWN = Source(BIETTI, "training dynamics", "output matrix first, then layer 1's keys, then the previous-token head")
STAGES = Source("Hoogland et al. 2024", "stages LM3, LM4", "previous-token heads form before induction heads")
LATER = (8, 20)  # numbers of seeds at which networks of fewer seeds are judged
COPYING, MATCHING, PREVIOUS = "OV copying, layer 1", "induction score", "previous-token score"
NEEDED = "ablation: no previous-token head"


def claim(name: str, source: Source | None, quantity: Quantity, kind: Any, **more: Any) -> Claim:
    return Claim(name, source, quantity, kind, "replication" if source else "finding", TOY, **more)


def of_network(name: str, kind: Kind, looks: tuple[int, ...] = (20,)) -> list[Claim]:
    """What each network of two layers should show; nearly always, where there are seeds enough to tell."""
    toy, always = partial(claim, looks=looks), looks == (20,)

    def own(quantity: Callable[..., np.ndarray], *args: Any, **named: Any) -> Quantity:
        return lambda m: quantity(of(m, kind), *args, **named)

    lead, once, change, by_k = development.lead, development.at_once, f"phase change, {name}", f"K-composition, {name}"
    return [
        toy(f"{name}: share of in-context learning that comes within a factor 2 of steps", CHANGE, own(once),
            Within(low=0.5), event=change,
            variants={"second half less first": own(once, development.halves), "a factor 1.5": own(once, factor=1.5)}),
        toy(f"{name}: step at which the induction score is halfway over that of in-context learning", CHANGE,
            own(development.together), Within(0.5, 2, "log"), event=change,
            variants={"by prefix matching": own(development.together, "prefix matching")}),
        toy(f"{name}: largest K-composition over the larger of Q and V, by norms", K_ALONE, own(development.by_norms),
            Direction(1, always), event=by_k),
        toy(f"{name}: nats lost through keys over those through queries or values, by ablation", K_ALONE,
            own(development.by_ablation), Direction(1, always), event=by_k),
        toy(f"{name}: K-composition with the previous-token head less that with the other", K_ALONE,
            own(development.from_previous), Direction(0, always)),
        toy(f"{name}: lesser eigenvalue score, OV or QK, of the induction head", CORNER,
            own(development.induction_corner), Direction(0, always), event=f"corner, {name}"),
        toy(f"{name}: the same less that of any head of layer 0", CORNER, own(development.corner_alone),
            Direction(0, always), event=f"corner, {name}"),
        toy(f"{name}: OV copying is halfway before the induction score, lead", TOP_DOWN, own(lead, COPYING, MATCHING),
            Direction(), unit="steps"),
        toy(f"{name}: the induction score before the previous-token score, lead", TOP_DOWN,
            own(lead, MATCHING, PREVIOUS), Direction(), unit="steps",
            variants={"by ablation": own(lead, MATCHING, NEEDED)}),
        toy(f"{name}: the previous-token score before the induction score, lead", STAGES,
            own(lead, PREVIOUS, MATCHING), Direction(), unit="steps",
            variants={"by ablation": own(lead, NEEDED, MATCHING)}),
        toy(f"{name}: the previous-token head is needed before its own score is halfway, lead", None,
            own(lead, NEEDED, PREVIOUS), Direction(), unit="steps"),
    ]  # fmt: skip


def with_depth(depth: str, kind: Kind, looks: tuple[int, ...] = (20,)) -> list[Claim]:
    """What more layers than one should have more of, seed by seed."""
    toy, sign = partial(claim, looks=looks), Direction(0, looks == (20,))

    def more(quantity: Quantity, **named: Any) -> Quantity:
        return lambda m: less(of(m, kind), of(m, ONE), partial(quantity, **named))

    burst, bump = development.burst, development.bump
    return [
        toy(f"{depth} less one: largest fall of the in-context score within a factor 2 of steps", DEEPER, more(burst),
            sign, unit="nats", each="seed", variants={
                "second half less first": more(burst, score=development.halves), "a factor 1.5": more(burst, factor=1.5)}),
        toy(f"{depth} less one: bump of the loss above its convex hull", DEEPER, more(bump), sign, unit="nats",
            each="seed", variants={"in log steps": more(bump, log_steps=True)}),
        toy(f"{depth} less one: prefix matching of the best head at the end", DEEPER,
            more(lambda m: development.best(m, "heads/prefix_matching")[:, -1]), sign, each="seed"),
    ]  # fmt: skip


# --- figures

LABELS = {"1 layer": ONE, "2 layers": TWO, "3 layers": THREE, "2 layers, abs": TWO_ABS}


def measured(m: Measures, kinds: Mapping[str, Kind] = LABELS) -> dict[str, Measures]:
    """The networks that were run, by name."""
    return {name: of(m, kind) for name, kind in kinds.items() if len(of(m, kind).valid)}


def exactly(m: Measures) -> np.ndarray:
    """[P]: the exact loss by position."""
    sizes = ("d_vocab", "n_ctx", "min_period", "max_period", "bos")
    return RepeatedBlocks(**{name: m.only(f"config/task.{name}").item() for name in sizes}).loss_by_position()


def phase_change(m: Measures) -> Any:
    nets, exact = measured(m), exactly(m)

    def panel(label: str, curve: str, ylim: tuple[float, float] | None = None, **limits: float) -> stages.Panel:
        return stages.Panel(
            label, {name: development.CURVES[curve](own) for name, own in nets.items()}, limits, ylim=ylim
        )

    return stages.stages(m.steps, [
        panel("second-half\nloss (nats)", "second-half loss", exact=exact[len(exact) // 2 :].mean()),
        panel("in-context\nscore (nats)", "in-context score", exact=exact[-1] - exact[len(exact) // 8]),
        panel("best head's\nprefix matching", "prefix matching", (0, 1)),
    ])  # fmt: skip


def forming(m: Measures, kind: Kind) -> Any:
    exact, m = {"exact limit, mean": float(exactly(m).mean())}, of(m, kind)
    if not len(m.valid):
        return stages.stages(m.steps, [stages.Panel("loss (nats)", {}, exact)])
    names = {"induction, L1": MATCHING, "prev. token, L0": PREVIOUS, "OV copying, L1": COPYING}
    scores = {key: development.CURVES[name](m) for key, name in names.items()}
    composing = {f"{kind}, largest": development.composed(m, kind) for kind in "KV"}
    reads = {name: development.unread(m, name[-1]) for name in ("unread by k", "unread by q", "unread by v")}
    panels = [
        stages.Panel("loss (nats)", {"second half": m["second_half_loss"], "mean": m["loss"]}, exact),
        stages.Panel("best head's score", scores, ylim=(0, 1)),
        stages.Panel("composition", composing, {"random heads": baseline(m)}),
        stages.Panel("ablation Δ (nats)", {"no prev. head": development.ablated(m), **reads}),
    ]
    return stages.stages(m.steps, panels)


def order_of_forming(m: Measures) -> Any:
    nets = measured(m, {"shortformer": TWO, "abs": TWO_ABS})
    return order.halfway({
        name: {kind: development.halfway(own, name) for kind, own in nets.items()} for name in development.CURVES
    })  # fmt: skip


def by_eigenvalues(m: Measures) -> Any:
    def scores(own: Measures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return own["final/eigenvalues/copying"], development.matching(own), own.last("heads/prefix_matching")

    return eigenvalues.scatter({name: scores(own) for name, own in measured(m).items()})


SHORT = (*range(0, 1250, 50), 1300, 1400, 1500, 1750, 2000, 2500, 3000)
SAVES: dict[Scale, Sequence[int]] = {"smoke": (0, 10, 20), "cpu": SHORT, "paper": SHORT}
SCORES = without(heads.head_scores, "attention_entropy", "duplicate_token")
COMPOSITION = without(circuits.circuit_scores, "matching")
EVERY = [*training([TWO, ONE, TWO_ABS]), *training([THREE], FEW)]
NETWORKS = Part(
    configs={"smoke": training([TWO, TWO_ABS, ONE], [0], SMALL), "cpu": EVERY, "paper": EVERY},
    saves=SAVES,
    milestone=("halfway", lambda measures: np.any(measures["second_half_loss"] < 0.5 * np.log(32), axis=-1)),
    final={"fresh": induction.fresh_loss, "eigenvalues": composed.eigenvalue_scores},
    analyses={
        "heads": SCORES, "circuits": COMPOSITION, "in_context": induction.in_context, "ablation": induction.ablation,
        "path_ablation": induction.path_ablation,
    },
    claims=[
        *of_network("shortformer", TWO), *of_network("abs", TWO_ABS, LATER),
        *with_depth("two layers", TWO), *with_depth("three layers", THREE, LATER),
        claim("one layer: a head copies", Source(ELHAGE, "one-layer models", "10 of 12 heads", 12), copies,
            Proportion(10, 12), each="first head of a run"),
        claim("K-composition over that of random heads, shortformer less abs", None,
              lambda m: less(of(m, TWO), of(m, TWO_ABS), over_random), Direction(), each="seed", looks=LATER),
    ],
    figures={
        "phase_change": phase_change, "forming_abs": partial(forming, kind=TWO_ABS),
        "forming_shortformer": partial(forming, kind=TWO), "order": order_of_forming, "eigenvalues": by_eigenvalues,
    },
)  # fmt: skip


# --- one run in pictures: seed 1, whose heads form with the others'

STILLS = (0, 300, 500, 600, 700, 900, 1400, 3000)


def composing(m: Measures) -> Any:
    kinds: tuple[composition.Kind, ...] = ("Q", "K", "V")
    by_kind = {kind: m[f"circuits/{kind}_composition"][0] for kind in kinds}
    return composition.composition_graphs(by_kind, m.steps, baseline(m), at=STILLS[1:])


def patterns_form(m: Measures) -> Any:
    example = m["example/pattern"][0].astype(float)  # [T, L, H, P, P]
    chosen = {0: development.previous_token_head(m)[0], 1: np.nanargmax(m.last("heads/induction")[0, 1])}
    rows = {f"L{layer}H{head}": attention.Row(example[:, layer, head]) for layer, head in chosen.items()}
    return attention.strip(rows, m.steps, at=STILLS)


def circuits_formed(m: Measures) -> Any:
    kinds: tuple[attention.Kind, ...] = ("OV", "positional QK")
    return attention.circuits({kind: m[f"final/circuits/{kind.replace(' ', '_')}"][0] for kind in kinds})


def by_position(m: Measures) -> Any:
    return stages.losses_by_position(m.steps, m["position/loss"], {"exact": exactly(m)}, at=STILLS[:1] + STILLS[2:])


PICTURES = Part(
    configs={"smoke": training([TWO], [1], SMALL), "cpu": training([TWO], [1]), "paper": training([TWO], [1])},
    saves=SAVES,
    final={"circuits": without(circuits.token_circuits, "QK")},
    analyses={
        "heads": SCORES, "circuits": COMPOSITION, "position": heads.position_losses, "example": heads.example_pattern,
    },
    figures={"composition": composing, "patterns": patterns_form, "circuits": circuits_formed, "by_position": by_position},
)  # fmt: skip


PARTS = {"networks": NETWORKS, "pictures": PICTURES}
