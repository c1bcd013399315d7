"""Skip-trigrams: what one layer of attention can learn, and what it cannot, read off its weights.

Claim     A one-layer attention-only transformer is a sum of a table of bigrams and tables of skip-trigrams "A … B → C", one
          a head, which stand in its weights. A head's table is a product, of how much B attends to A and of what A raises,
          so that it raises what it should not: a skip-trigram bug.
Source    Elhage et al. 2021, A Mathematical Framework for Transformer Circuits (one-layer models). Theirs are of language.
Expect    The tables alone give the answers. What bugs cost is asked there and not answered: here one head, which has them
          for certain where every pair (A, B) has a random answer, ends with a higher loss than four heads of as many
          parameters.
Cost      cpu: 40 runs, 2 minutes on one quiet core (3 on a busy one).
Command   python run_sweep.py skip_trigrams [--scale smoke|cpu|paper]
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toylab.analysis import trigrams
from toylab.base import Config
from toylab.claims import Claim, Direction, Source, Within, analogue
from toylab.lab import Measures
from toylab.models import Net, Transformer
from toylab.optim import AdamW
from toylab.plots import trigrams as tables
from toylab.tasks import SkipTrigrams

SEEDS = range(2000, 2020)  # none of them was trained before the claims were fixed
ELHAGE = "Elhage et al. 2021"


def training(seeds: Sequence[int], **task: int) -> list[Config]:
    """One layer of four heads, and of one head with as many parameters. The law gives each pair one answer, wherever the
    source stands, so positions are left out."""
    law = SkipTrigrams(**task)
    sizes: dict[str, Any] = {"d_vocab": law.d_vocab, "d_vocab_out": law.n_answers, "n_ctx": law.n_ctx, "d_model": 32}
    nets = [Net.of(Transformer, **sizes, d_mlp=0, n_heads=n, positions="none") for n in (4, 1)]
    optimizer = AdamW(lr=3e-3, weight_decay=0.01, warmup=20, clip=1.0)
    return [Config(law, net, optimizer, seed, data_seed=seed) for net in nets for seed in seeds]


def of(m: Measures, n_heads: int) -> Measures:
    return m.runs(m["config/net.n_heads"] == n_heads)


def cost(m: Measures) -> np.ndarray:
    """Nats of loss that one head has more than four of the same seed."""
    one, four = of(m, 1), of(m, 4)
    _, i, j = np.intersect1d(one["config/seed"], four["config/seed"], return_indices=True)
    return one.last("loss")[i] - four.last("loss")[j]


def answered(m: Measures) -> np.ndarray:
    return of(m, 4)["final/table/answered"]


def bugs(m: Measures) -> np.ndarray:
    """Share of the ten strongest skip-trigrams of a single head that the data has not."""
    return 1 - (of(m, 1)["final/table/law"][:, 0] > 0).mean(axis=-1)


def table(m: Measures) -> Any:
    """Of the first run with most heads."""
    run, n_heads = int(m["config/net.n_heads"].argmax()), int(m["config/net.n_heads"].max())
    names = ("source", "destination", "output", "contribution", "law")
    return tables.table(*(m[f"final/table/{name}"][run, :n_heads] for name in names))


SAVED = (0, 100, 200, 300, 500, 1000)
CONFIGS = {"smoke": training([0], n_ctx=4, batch_size=8, n_eval=8), "cpu": training(SEEDS), "paper": training(SEEDS)}
SAVES = {"smoke": (0, 2), "cpu": SAVED, "paper": SAVED}
STOP = dict.fromkeys(CONFIGS)
MILESTONE = ("answers", lambda measures: np.any(measures["accuracy"] > 0.9, axis=-1))
FINAL = {"table": trigrams.table}
TOY = analogue("ten sources and ten destinations of random answers, not language; 32 dimensions, one or four heads")
CLAIMS = [
    Claim("share of pairs of which the bigram and skip-trigram tables of four heads give the answer",
          Source(ELHAGE, "one-layer models", "an ensemble of bigrams and skip-trigrams, to be read off the weights"),
          answered, Within(low=0.9), fidelity=TOY),
    Claim("loss of one head less that of four: what bugs cost",
          Source(ELHAGE, "skip-trigram bugs", "asked: how much do they cost?"), cost, Direction(), "finding", TOY,
          unit="nats", each="seed"),
    Claim("share of a single head's ten strongest skip-trigrams that the data has not",
          Source(ELHAGE, "skip-trigram bugs", "a head cannot but raise others too"), bugs, Direction(), fidelity=TOY),
]  # fmt: skip
FIGURES = {"skip_trigrams": table}
