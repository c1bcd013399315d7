"""Statistical induction heads: a network on in-context Markov chains is uniform, then a unigram, then a bigram predictor.

Claim     Trained on sequences that each come from a Markov chain of their own, a two-layer attention-only transformer does
          not learn the best predictor at once: it passes through a phase in which it counts single tokens (unigram), and
          then turns to counting which token follows which (bigram), with a head of layer 0 attending to the previous token
          and a head of layer 1 to the tokens that followed the present one.
Source    Edelman et al. 2024, The Evolution of Statistical Induction Heads (arXiv 2402.11004): k = 3 symbols, rows from
          Dirichlet(1, 1, 1), two layers, LayerNorm, AdamW betas 0.9 and 0.95, batch 64. Here the context has 64 tokens
          instead of 100, there is no dropout, and the first token follows the stationary law, as the paper says (its code
          does not for k < 5). `absolute`: learned positions, d_model 32, lr 1e-3. `relative`: the paper's positions and
          width, d_model 16, lr 3e-3. Both have one head a layer.
Expect    nats a token: uniform 1.0986; unigram predictor 1.0121, bigram predictor 0.9056 (means over 64 positions, standard
          error 0.0005); knowing the chain 0.8188. The bigram predictor is Bayes but for what the first token tells of the
          chain, at most 0.0019. The network is within 0.02 of the unigram loss between steps 80 and 200 and ends within
          0.03 of the bigram loss.
Cost      cpu: 2.5 minutes on one core, 3 seeds a part. paper: 5 seeds, the paper's context of 100, 4000 steps; not yet run.
Command   python run_sweep.py markov [--scale smoke|cpu|paper] [--part absolute|relative]
Fails     That layer 1 is ready first fails by our first measure, the loss once layer 0 is clamped to the previous token
          (sooner in two seeds of six, later in three). Until the unigram phase ends the clamp raises the loss to 1.04 and
          more, above that of the unigram predictor: there the even attention of layer 0 does the counting, and the clamp
          takes it away. If layer 1's keys alone are made of the clamped layer 0, the loss falls within the phase in all six
          seeds (at step 121 by 0.014 to 0.026 nats, the way to the bigram predictor being 0.11), so layer 1 has begun to
          look for the token before while layer 0 still attends evenly. With absolute positions that is halfway 119 steps
          sooner; with relative ones layer 0 turns so abruptly that only one seed is halfway sooner, at saved points 24
          steps apart.
Changed   The measure with layer 1's keys alone, its claim and its figure were added after the first run.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from toylab.analysis import markov_chains
from toylab.base import Config
from toylab.lab import Claim, Measures, Part
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.plots import stages
from toylab.plots.attention import patterns as attention
from toylab.sweep import log_then_linear
from toylab.tasks import MarkovChains

PAPER = "Edelman et al. 2024"
MEASURED = "bound from an independent run of this set-up"
STRATEGIES = ("uniform", "unigram", "bigram")
AT = (0, 40, 120, 200, 300, 1500)  # steps that figures show


def chains(seeds: int, lr: float, n_ctx: int = 64, n_eval: int = 512, **sizes: Any) -> list[Config]:
    net = Net.of(
        Transformer, d_vocab=3, d_vocab_out=3, n_ctx=n_ctx, n_layers=2, n_heads=1, d_mlp=0, layer_norm=True, readout="all",
        init_scale=0.02 * sizes["d_model"] ** 0.5, **sizes,  # the paper's N(0, 0.02²) but for a wider W_U
    )  # fmt: skip
    optimizer = AdamW(
        lr=lr, weight_decay=0.1, b1=0.9, b2=0.95, warmup=0, clip=1.0
    )  # but for lr as in the released code
    task = MarkovChains(k=3, n_ctx=n_ctx, first="stationary", n_eval=n_eval)
    return [Config(task, net, optimizer, seed=seed) for seed in range(seeds)]


# --- what is claimed


def limit(m: Measures, name: str) -> np.ndarray:
    """[R]: the mean loss of a strategy on the evaluation set."""
    return m[f"final/limits/{name}"].mean(axis=1)


def above_bigram(m: Measures) -> np.ndarray:
    return m.last("loss") - limit(m, "bigram")


def above_unigram(m: Measures) -> np.ndarray:
    return m.last("loss") - limit(m, "unigram")


def unigram_phase(m: Measures) -> np.ndarray:
    """The least distance of the loss from that of the unigram predictor at a step from 80 to 200."""
    early = (m.steps >= 80) & (m.steps <= 200)
    return np.abs(m["loss"][:, early] - limit(m, "unigram")[:, None]).min(axis=1, initial=np.inf)


def closest(m: Measures, name: str) -> np.ndarray:
    """[R]: the step at which KL(strategy ‖ model) is least."""
    return m.steps[np.where(m.valid, m[f"kl_{name}"], np.inf).argmin(axis=1)]


def lead(earlier: str, later: str) -> Callable[[Measures], np.ndarray]:
    return lambda m: closest(m, later) - closest(m, earlier)


def head(score: str, layer: int) -> Callable[[Measures], np.ndarray]:
    return lambda m: m.last(f"network/{score}")[:, layer]


def layer_1_lead(given: str) -> Callable[[Measures], np.ndarray]:
    """Steps by which the loss gets halfway from unigram to bigram sooner when layer 1 is given the token before."""

    def steps(m: Measures) -> np.ndarray:
        halfway = (m["final/limits/unigram_seen"] + m["final/limits/bigram_seen"]).mean(1)[:, None] / 2
        reached = [m.first_step(m[f"network/{name}"].mean(-1) <= halfway) for name in (given, "loss")]
        return reached[1] - reached[0]

    return steps


def claims(part: str) -> list[Claim]:
    def claim(name: str, source: str, quantity: Any, low: float, high: float = np.inf, unit: str = "") -> Claim:
        return Claim(f"{part} positions: {name}", source, quantity, low, high, unit, each="seed")

    return [
        claim("unigram phase: loss off the unigram predictor's at its nearest in steps 80 to 200",
              f"{PAPER}: a plateau there; {MEASURED}: 0.02", unigram_phase, -np.inf, 0.02, unit="nats"),
        claim("final loss above the bigram predictor's", f"{PAPER}: it is approached; {MEASURED}: 0.03",
              above_bigram, -np.inf, 0.03, unit="nats"),
        claim("final loss above the unigram predictor's", f"{PAPER}: well below it; {MEASURED}: −0.05",
              above_unigram, -np.inf, -0.05, unit="nats"),
        claim("closest to unigram after it was to uniform: steps", f"{PAPER}: in this order; the bound is ours",
              lead("uniform", "unigram"), 1),
        claim("closest to bigram after it was to unigram: steps", f"{PAPER}: in this order; the bound is ours",
              lead("unigram", "bigram"), 1),
        claim("attention of layer 0 to the previous token", f"{PAPER}: such a head forms; {MEASURED}: 0.45 on the way",
              head("previous", 0), 0.4),
        claim("attention of layer 1 to what followed the present token", f"{PAPER}: such a head forms; the bound is ours",
              head("followers", 1), 0.6),
        claim("layer 1 is ready first: steps by which the loss is halfway sooner with layer 0 clamped",
              "the two layers' order in the paper's simplified model, as we read it; the bound is ours",
              layer_1_lead("clamped"), 1),
        claim("layer 1 is ready first: steps by which the loss is halfway sooner with its keys given the previous token",
              "the two layers' order in the paper's simplified model, as we read it; the bound is ours",
              layer_1_lead("keys"), 1),
    ]  # fmt: skip


# --- what is drawn


def phases(m: Measures) -> object:
    where = {name: float(limit(m, name)[0]) for name in STRATEGIES}
    scores = {
        "layer 0: previous token": m["network/previous"][..., 0],
        "layer 1: followers": m["network/followers"][..., 1],
    }
    losses = {"network": m["loss"]}
    panels = [
        stages.Panel("loss (nats)", losses, {f"{name} {value:.3f}": value for name, value in where.items()},
                     ylim=(where["bigram"] - 0.03, where["uniform"] + 0.05)),
        stages.Panel("KL to network (nats)", {name: m[f"kl_{name}"] for name in STRATEGIES}, ylim=(0, 0.25)),
        stages.Panel("attention", scores, ylim=(0, 1)),
    ]  # fmt: skip
    return stages.stages(m.steps, panels, xscale="log")


def order_of_layers(m: Measures) -> object:
    """Each name says what layer 1 was given on trained weights."""
    curves = {"network": m["network/loss"], "keys given": m["network/keys"], "layer 0 clamped": m["network/clamped"]}
    by_name = {name: float(m[f"final/limits/{name}_seen"].mean()) for name in STRATEGIES}
    limits = {f"{name} {value:.3f}": value for name, value in by_name.items()}
    return stages.losses_with_limits(m.steps, {name: loss.mean(-1) for name, loss in curves.items()}, limits)


def shown(m: Measures) -> int:
    """The seed with the median final loss."""
    return int(np.argsort(m.last("loss"))[(len(m.valid) - 1) // 2])


def heads_through_training(m: Measures) -> object:
    run = shown(m)
    tokens = ["abc"[token] for token in m["network/tokens"][run, -1]]
    pattern = m["network/pattern"][run].astype(float)  # [T, L, P, P]
    rows = {f"L{layer}H0": attention.Row(pattern[:, layer], "pattern", tokens) for layer in (0, 1)}
    return attention.strip(rows, m.steps, at=AT)


def losses_by_position(m: Measures) -> object:
    limits = {name: m[f"final/limits/{name}_seen"][0] for name in STRATEGIES}
    return stages.losses_by_position(m.steps, m["network/loss"], limits, at=AT)


def figures(part: str) -> dict[str, Callable[[Measures], object]]:
    return {
        f"{part}_phases": phases,
        f"{part}_order": order_of_layers,
        f"{part}_attention": heads_through_training,
        f"{part}_by_position": losses_by_position,
    }


def part(name: str, lr: float, **sizes: Any) -> Part:
    tiny = chains(1, lr, n_ctx=16, n_eval=32, **(sizes | {"d_model": 8}))
    return Part(
        configs={"smoke": tiny, "cpu": chains(3, lr, **sizes), "paper": chains(5, lr, n_ctx=100, **sizes)},
        saves={
            "smoke": (0, 100, 120),
            "cpu": log_then_linear(10, 1500, 76),
            "paper": log_then_linear(10, 4000, 200),
        },
        final={"limits": markov_chains.strategy_losses},
        analyses={"network": markov_chains.clamped_to_previous},
        claims=claims(name),
        figures=figures(name),
    )


PARTS = {
    "absolute": part("absolute", 1e-3, d_model=32),
    "relative": part("relative", 3e-3, d_model=16, positions="relative"),
}
