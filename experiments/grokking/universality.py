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
          8 minutes on one core, 6 of them for S5. paper: S5 with the widths and
          lr of the paper, 8 seeds, a GPU; the other groups as on cpu.
Command   python run_sweep.py universality [--scale smoke|cpu|paper] [--part s5|a5|s4|d11|c31]
Fails     (cpu scale) S5: of seeds 0 to 2 one does without standard (sign, 6d and 5d_a instead), as one of the 29
          published does, and its W_U lies just below their range. Tried: seeds 3 to 5 all have standard, which makes 5 of
          6; in one of them sign is not the first. They leave the published ranges elsewhere: one groks at 24, two have 5
          key irreps, one of these 0.834 of the hidden layer. Narrower embeddings and ten times the lr may spread the seeds.
          D11 has 6 irreps and every seed uses all of them, so that their sets do not differ; what differs is how much of
          the logits each makes, and the order. S4 with its 4 is on the edge: in a first run, that rounded otherwise, all
          six seeds had all four. In C31, with 15, no two seeds of six have the same set.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toylab.analysis.groups import composition as groups
from toylab.analysis.groups.irreps import representations
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.plots import irreps
from toylab.sweep import log_then_linear
from toylab.tasks import GroupComposition, cayley

PUBLISHED = "29 published seeds"
SETTLED = 1.5  # times the step of 99 % test accuracy


def chughtai(
    group: cayley.Group, n: int, share: float, seed: int, *, lr: float = 1e-2, d_model: int = 64, d_mlp: int = 128
) -> Config:
    g = cayley.order(group, n)
    task = GroupComposition(group=group, n=n, n_train=int(share * g**2))
    net = Net.of(ModularMLP, d_vocab=g, d_vocab_out=g, d_model=d_model, d_mlp=d_mlp)
    return Config(task=task, net=net, optimizer=AdamW(lr=lr, warmup=0), seed=seed)


def settled(measures: dict[str, np.ndarray]) -> bool:
    """Half as long again as 99 % test accuracy took."""
    reached = measures["test_accuracy"] >= 0.99
    return bool(reached.any() and measures["step"][-1] >= SETTLED * measures["step"][reached.argmax()])


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


def distinct(m: Measures) -> np.ndarray:
    """How many different sets of key irreps the seeds found."""
    return np.array([len({row.tobytes() for row in key(m)})])


def key_share(m: Measures, irrep: int) -> np.ndarray:
    return np.array([key(m)[:, irrep].mean()])


def first_share(m: Measures, irrep: int) -> np.ndarray:
    return np.array([(order(m)[:, irrep] == 1).mean()])


def final(name: str) -> Callable[[Measures], np.ndarray]:
    return partial(_final, name=name)


def _final(m: Measures, name: str) -> np.ndarray:
    return m[f"final/learned/{name}"]


# --- claims

SIGN, STANDARD = (representations("symmetric", 5).names.index(name) for name in ("sign", "standard"))


def universal(name: str) -> list[Claim]:
    """What every group's networks should show; the paper's text without numbers, so the bounds are ours."""
    return [
        Claim(
            f"{name}: generalises late, steps over those to fit", "Chughtai et al. 2023; the bound is ours", delay, 5
        ),
        Claim(
            f"{name}: W_a explained by the key irreps", "Chughtai et al. 2023: nearly all; ours", final("W_a_fve"), 0.9
        ),
        Claim(
            f"{name}: W_U explained by the key irreps", "Chughtai et al. 2023: nearly all; ours", final("W_U_fve"), 0.8
        ),
    ]


def varied(name: str) -> Claim:
    """Of groups with too few irreps for the seeds to differ (A5) this is not asked."""
    return Claim(
        f"{name}: sets of key irreps among the seeds", "weak universality; the bound is ours", distinct, 2, each="page"
    )


S5 = [
    Claim("S5: lr · wd · steps to 99 % test accuracy", f"{PUBLISHED}: 38.7 to 218", decay_time, 38.7, 218),
    Claim("S5: number of key irreps", f"{PUBLISHED}: 2 to 4", n_key, 2, 4),
    Claim("S5: share of seeds with sign", f"{PUBLISHED}: 28 of 29", partial(key_share, irrep=SIGN), 0.9, each="page"),
    Claim(
        "S5: share of seeds with standard",
        f"{PUBLISHED}: 28 of 29",
        partial(key_share, irrep=STANDARD),
        0.9,
        each="page",
    ),
    Claim(
        "S5: share of seeds with sign first",
        f"{PUBLISHED}: 26 of 29; the bound leaves room for 2 of 3",
        partial(first_share, irrep=SIGN),
        0.66,
        each="page",
    ),
    Claim("S5: logits explained by the key irreps", f"{PUBLISHED}: 0.310 to 0.861", final("logit_fve"), 0.31, 0.861),
    Claim("S5: hidden layer explained", f"{PUBLISHED}: 0.860 to 0.908", final("hidden_fve"), 0.86, 0.908),
    Claim("S5: W_U explained", f"{PUBLISHED}: 0.921 to 0.962", final("W_U_fve"), 0.921, 0.962),
    Claim("S5: W_a explained", f"{PUBLISHED}: 0.996 to 1", final("W_a_fve"), 0.9959),
    Claim("S5: excluded loss", f"{PUBLISHED}: 7.3 to 17.2", final("excluded_loss"), 7.3, 17.2, unit="nats"),
    Claim("S5: test loss over restricted loss", f"{PUBLISHED}: 4.0 to 1152", final("test_ratio"), 3.9),
    Claim("S5: sets of key irreps among the seeds", f"{PUBLISHED}: 8", distinct, 2, each="page"),
]
A5 = [
    Claim(
        "A5: lr · wd · steps to 99 % test accuracy",
        "one published seed: 27.6; a factor of 2 is ours",
        decay_time,
        13.8,
        55.3,
    ),
]


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
    )


def part(
    name: str, group: cayley.Group, n: int, share: float, steps: int, seeds: int, claims: list[Claim], **paper: Any
) -> Part:
    """One group: `seeds` runs of `steps` at most; `paper` replaces settings there (and `paper_steps`, `paper_seeds`)."""
    long, many = paper.pop("paper_steps", steps), paper.pop("paper_seeds", seeds)
    small = {"d_model": 8, "d_mlp": 8}
    return Part(
        configs={
            "smoke": [chughtai(group, n, share, seed, **small) for seed in range(2)],
            "cpu": [chughtai(group, n, share, seed) for seed in range(seeds)],
            "paper": [chughtai(group, n, share, seed, **paper) for seed in range(many)],
        },
        saves={
            "smoke": np.array([0, 2, 4]),
            "cpu": log_then_linear(10, steps, 100),
            "paper": log_then_linear(10, long, 200),
        },
        stop={"smoke": None, "cpu": settled, "paper": settled},
        milestone=("grokked", grokked),
        final={"learned": groups.learned},
        analyses={"formation": groups.formation},
        claims=claims,
        figures={name: partial(figure, group=group, n=n)},
    )


PAPER: dict[str, Any] = {"lr": 1e-3, "d_model": 256, "paper_steps": 250_000, "paper_seeds": 8}
PARTS = {
    "s5": part("s5", "symmetric", 5, 0.4, 15_000, 3, S5, **PAPER),
    "a5": part("a5", "alternating", 5, 0.5, 10_000, 3, A5 + universal("A5")),
    "s4": part("s4", "symmetric", 4, 0.6, 10_000, 6, [*universal("S4"), varied("S4")]),
    "d11": part("d11", "dihedral", 11, 0.7, 10_000, 6, [*universal("D11"), varied("D11")]),
    "c31": part("c31", "cyclic", 31, 0.6, 10_000, 6, [*universal("C31"), varied("C31")]),
}
