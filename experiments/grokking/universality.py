"""Universality: networks that compose the elements of a group use its representations, but not each the same ones.

Claim     A network that groks composition in a finite group computes tr ρ(a)ρ(b)ρ(c⁻¹) for a few irreducible
          representations ρ. Universality is weak: every network builds that circuit, but which ρ differs between seeds. In
          S5 nearly all have the sign and the standard representation, the sign first.
Source    Chughtai et al. 2023, A Toy Model of Universality (arXiv 2302.03025): one-hidden-layer MLP with two embeddings of
          width 256 and 128 neurons, no biases, AdamW lr 1e-3, weight decay 1, full batch, 250,000 epochs; S5 with 40 % of
          the pairs, A5 with 50 %. The published runs: 29 seeds of S5, one of A5.
Expect    S5: all grok, at 38.7 to 218 (median 97) in units of 1/(lr · weight decay); 2 to 4 key irreps, sign and standard
          in 28 of 29 seeds each, sign first in 26. Key irreps explain all of W_a and W_b, 86 to 91 % of the hidden layer
          and 31 to 86 % of the logits.
Cost      cpu: embeddings of width 64 and lr 1e-2, so that the same number of e-folds of decay takes a tenth of the steps.
          C31 4, S4 2 and D11 2 minutes on two cores, A5 20, S5 30. paper: S5 and A5 with the widths and lr
          of the paper, 20 seeds, a GPU; not run.
Command   python run_sweep.py universality [--scale smoke|cpu|paper] [--part s5|a5|s4|d11|c31]
Fails     S5, set-up scaled: the delay is 61 (41 to 84, n = 20) for the paper's 284, direction only. It fits later (step 84,
          34 of a tenth of the steps), and generalises sooner, at 51 e-folds of decay (35 to 70) for 97, undecided
          within a factor of 1.5. The ratio of test and restricted loss scatters too far between seeds to be decided.
          A5, set-up scaled: it fits later than in the paper (step 55 for 20 of a tenth of the steps), so that the delay is
          a third of the released run's; W_a and the hidden layer are explained to 1.5 and 3 % more than there.
          S4: 20 seeds end with one of two sets, with standard·sign (6 seeds) or without; of 10 pairs 4 differ. In C31 20
          have 18 sets. In D11 each of 20 uses all six irreps, so it is not asked there.
          That S4, D11 and C31 generalise late is asked as a sign alone. They do, 62, 26 and 33 times later in the
          median: less than the 115 to 638 times that are quoted, which are of S5.
Changed   Until this page was judged by rules it stopped at 1.5 times the step of 99 % test accuracy. There key irreps of S4
          and C31 still vanish: 23 became 20 and 67 became 54 over six seeds by step 20,000. Until then a claim asked that
          each of three or six seeds lie in the range of the 29 released; the rules were fixed when seeds 0 to 5 were known.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis.groups import composition as groups
from toylab.analysis.groups.irreps import representations
from toylab.base import Config
from toylab.claims import Claim, Direction, Median, Number, Proportion, Source, Within, analogue, scaled
from toylab.claims.claim import Quantity
from toylab.claims.kinds import Kind
from toylab.lab import Measures, Part
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import irreps
from toylab.sweep import log_then_linear
from toylab.tasks import GroupComposition, cayley

SEEDS = range(100, 120)  # none of them was trained before the claims were fixed
FRESH = range(2000, 2020)  # of S5, where development seeds were known


def chughtai(
    group: cayley.Group, n: int, share: float, seed: int, *, lr: float = 1e-2, d_model: int = 64, d_mlp: int = 128
) -> Config:
    g = cayley.order(group, n)
    task = GroupComposition(group=group, n=n, n_train=int(share * g**2))
    net = Net.of(ModularMLP, d_vocab=g, d_vocab_out=g, d_model=d_model, d_mlp=d_mlp)
    return Config(task=task, net=net, optimizer=AdamW(lr=lr, warmup=0), seed=seed)


def grokked(measures: dict[str, np.ndarray]) -> np.ndarray:
    return np.any(measures["test_accuracy"] >= 0.99, axis=-1)


# --- quantities


def test_step(m: Measures) -> np.ndarray:
    return m.first_step(m["test_accuracy"] >= 0.99)


def decay_time(m: Measures) -> np.ndarray:
    """lr · weight decay · steps to 99 % test accuracy: how often weights would have shrunk by e meanwhile."""
    return test_step(m) * m["config/optimizer.lr"] * m["config/optimizer.weight_decay"]


def delay(m: Measures) -> np.ndarray:
    return test_step(m) / m.first_step(m["train_accuracy"] >= 0.99)


def key(m: Measures) -> np.ndarray:
    """bool [R, K], of runs that grokked; the others have none."""
    return m["final/learned/key"] & grokked(m)[:, None]


def order(m: Measures) -> np.ndarray:
    """[R, K]: the places at which key irreps are learned, from 1; 0 for others."""
    return np.stack([groups.order_learned(s[v], k) for s, v, k in zip(similarity(m), m.valid, key(m), strict=True)])


def similarity(m: Measures) -> np.ndarray:
    return m["formation/similarity"]


def n_key(m: Measures) -> np.ndarray:
    return key(m).sum(axis=1)


def final(name: str) -> Callable[[Measures], np.ndarray]:
    return partial(_final, name=name)


def _final(m: Measures, name: str) -> np.ndarray:
    return m[f"final/learned/{name}"]


# --- claims

PAPER = "Chughtai et al. 2023"
RUNS29 = "S5_MLP, 29 released runs"
SIGN, STANDARD = (representations("symmetric", 5).names.index(name) for name in ("sign", "standard"))
SMALLER = scaled("embeddings of width 64, not 256; lr 1e-2, not 1e-3, for a tenth of the steps")
OTHER_GROUP = analogue("the paper has no run of this group; embeddings of width 64, lr 1e-2")
NEARLY_ALL = "99.5 % of W_a, 98.0 % of W_U (C113); 100 %, 94.1 % (S5)"


def differ(m: Measures, above: float | None = None) -> np.ndarray:
    """[R // 2]: whether the two seeds of a pair, 0 and 1, 2 and 3, …, have other key irreps: 1 or 0.

    Args:
        m: the measures.
        above: the similarity from which on an irrep is key; None for the paper's.
    """
    sets = key(m) if above is None else m["final/learned/similarity"] > above
    n = len(sets) // 2 * 2
    return (sets[0:n:2] != sets[1:n:2]).any(axis=1).astype(float)


def has(m: Measures, irrep: int) -> np.ndarray:
    return key(m)[:, irrep].astype(float)


def is_first(m: Measures, irrep: int) -> np.ndarray:
    return (order(m)[:, irrep] == 1).astype(float)


def of_29(name: str, says: str, quantity: Quantity, kind: Kind, **more: Any) -> Claim:
    """A claim against the released seeds of S5. The paper's value is the median of all 29, its error by the bootstrap."""
    return Claim(name, Source(PAPER, RUNS29, says, 29), quantity, kind, fidelity=SMALLER, **more)


def universal(name: str) -> list[Claim]:
    """What the networks of every group should show."""
    late = Source(PAPER, RUNS29, "all generalise 115 to 638 times later than they fit", 29)
    return [
        Claim(f"{name}: generalises late, steps over those to fit", late, delay, Direction(null=1, always=True),
              fidelity=OTHER_GROUP),
        *(Claim(f"{name}: {weights} explained by the key irreps", Source(PAPER, "table of means over seeds", NEARLY_ALL, 4),
                final(f"{weights}_fve"), Within(low=low), fidelity=OTHER_GROUP)
          for weights, low in (("W_a", 0.95), ("W_U", 0.9))),
    ]  # fmt: skip


def varied(name: str) -> Claim:
    """Asked only of groups of which the networks leave some irreps unused."""
    return Claim(
        f"{name}: two seeds have different key irreps",
        Source(PAPER, "abstract", "the precise circuits learned, and their order, are arbitrary"),
        differ,
        Proportion(least_share=0.5),
        fidelity=OTHER_GROUP,
        each="pair of seeds",
        looks=(10,),
        variants={f"key from a similarity of {above}": partial(differ, above=above) for above in (0.002, 0.02, 0.05)},
    )


S5 = [
    of_29("S5: lr · wd · steps to 99 % test accuracy", "97.1 (38.7 to 218)", decay_time,
          Median(97.1, 1.5, "log", error=0.064)),
    of_29("S5: generalises late, steps over those to fit", "284 (115 to 638)", delay,
          Median(284, 2, "log", error=0.061, null=1)),
    of_29("S5: number of key irreps", "3 (2 to 4)", n_key, Median(3, 1, error=0.14)),
    of_29("S5: sign is key", "28 of 29", partial(has, irrep=SIGN), Proportion(28, 29), each="seed"),
    of_29("S5: standard is key", "28 of 29", partial(has, irrep=STANDARD), Proportion(28, 29), each="seed"),
    of_29("S5: sign is learned first", "26 of 29", partial(is_first, irrep=SIGN), Proportion(26, 29), each="seed"),
    of_29("S5: logits explained by the key irreps", "0.539 (0.310 to 0.861)", final("logit_fve"),
          Median(0.539, 0.15, error=0.037)),
    of_29("S5: hidden layer explained", "0.889 (0.860 to 0.908)", final("hidden_fve"), Median(0.889, 0.03, error=0.005)),
    of_29("S5: W_U explained", "0.942 (0.921 to 0.962)", final("W_U_fve"), Median(0.942, 0.03, error=0.003)),
    of_29("S5: W_a explained", "1.000 (0.996 to 1)", final("W_a_fve"), Within(low=0.99)),
    of_29("S5: excluded loss", "10.9 (7.34 to 17.2)", final("excluded_loss"),
          Median(10.95, 1.5, "log", error=0.068), unit="nats"),
    of_29("S5: test loss over restricted loss", "64 (4.0 to 1,152)", final("test_ratio"),
          Median(64.3, 3, "log", error=0.42, null=1)),
    of_29("S5: two seeds have different key irreps", "85 % of pairs of the 29", differ, Proportion(least_share=0.5),
          each="pair of seeds", looks=(10,)),
]  # fmt: skip
A5 = [
    Claim("A5: lr · wd · steps to 99 % test accuracy", Source(PAPER, "A5_MLP, released run", "27.6", 1), decay_time,
          Number(27.6, 4, "log"), fidelity=SMALLER),
    Claim("A5: generalises late, steps over those to fit", Source(PAPER, "A5_MLP, released run", "135", 1), delay,
          Number(135, 4, "log", null=1), fidelity=SMALLER),
    Claim("A5: W_a explained by the key irreps", Source(PAPER, "A5_MLP, released run", "0.985", 1), final("W_a_fve"),
          Number(0.985, 0.1), fidelity=SMALLER),
    Claim("A5: W_U explained by the key irreps", Source(PAPER, "A5_MLP, released run", "0.931", 1), final("W_U_fve"),
          Number(0.931, 0.1), fidelity=SMALLER),
    Claim("A5: hidden layer explained", Source(PAPER, "A5_MLP, released run", "0.841", 1), final("hidden_fve"),
          Number(0.841, 0.2), fidelity=SMALLER),
    Claim("A5: logits explained by the key irreps", Source(PAPER, "A5_MLP, released run", "0.514", 1),
          final("logit_fve"), Number(0.514, 0.5), fidelity=SMALLER),
]  # fmt: skip


# --- figures


def shown(m: Measures) -> int:
    """The median run by its step of grokking."""
    return int(np.argsort(np.nan_to_num(test_step(m), nan=np.inf))[(len(m.valid) - 1) // 2])


def figure(m: Measures, group: cayley.Group, n: int) -> object:
    return irreps.learned(
        m.steps,
        (m["train_accuracy"], m["test_accuracy"]),
        np.where(m.valid[shown(m)][:, None], similarity(m)[shown(m)], np.nan)[:, 1:],
        m["final/learned/similarity"][:, 1:],
        order(m)[:, 1:],
        representations(group, n).names[1:],
        shown(m),
        m["config/seed"].tolist(),
    )


def part(
    name: str, group: cayley.Group, n: int, share: float, steps: int, claims: list[Claim], seeds: range, **more: Any
) -> Part:
    """One group: seeds trained on long after they generalise. Settings of `more` replace those of the scale paper;
    `paper_steps` among them is the number of steps there."""
    long = more.pop("paper_steps", steps)
    small = {"d_model": 8, "d_mlp": 8}
    return Part(
        configs={
            "smoke": [chughtai(group, n, share, seed, **small) for seed in range(2)],
            "cpu": [chughtai(group, n, share, seed) for seed in seeds],
            "paper": [chughtai(group, n, share, seed, **more) for seed in SEEDS],
        },
        saves={
            "smoke": np.array([0, 2, 4]),
            "cpu": log_then_linear(10, steps, 100),
            "paper": log_then_linear(10, long, 200),
        },
        milestone=("grokked", grokked),
        final={"learned": groups.learned},
        analyses={"formation": groups.formation},
        claims=claims,
        figures={name: partial(figure, group=group, n=n)},
    )


PAPER_SIZE: dict[str, Any] = {"lr": 1e-3, "d_model": 256, "paper_steps": 250_000}
PARTS = {
    "s5": part("s5", "symmetric", 5, 0.4, 25_000, S5, FRESH, **PAPER_SIZE),
    "a5": part("a5", "alternating", 5, 0.5, 25_000, A5, SEEDS, **PAPER_SIZE),
    "s4": part("s4", "symmetric", 4, 0.6, 20_000, [*universal("S4"), varied("S4")], SEEDS),
    "d11": part("d11", "dihedral", 11, 0.7, 20_000, universal("D11"), SEEDS),
    "c31": part("c31", "cyclic", 31, 0.6, 20_000, [*universal("C31"), varied("C31")], SEEDS),
}
