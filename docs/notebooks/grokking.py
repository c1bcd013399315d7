# %% [markdown]
# # Tutorial: grokking
#
# You train a small network to add mod 29. It first learns its training pairs by heart and later generalises. Then you
# find out what it computes. You need no more than some Python and an idea of what a neural network is.
#
# ## Install
#
# You need Python 3.11 or later. In a clone of the repository:
#
# ```sh
# pip install -e .
# ```
#
# Put the cells below into a notebook or a script, one after another. All of them together take about a minute on two
# CPU cores.
#
# ## Train
#
# A config says everything about a run: the task (a + b mod 29, 60 % of the pairs for training), the network, the
# optimizer. `run` trains it into a folder and saves 60 points on the way. The settings are no paper's: they were
# chosen by trying, so that this network groks within a minute. To analyse a run that you have, put its folder in
# place of `FOLDER` and leave the training out.

# %%
from pathlib import Path

import numpy as np

from toylab import Config, Net, Spec, load, log_then_linear, run
from toylab.analysis import analyze, fourier, progress
from toylab.analysis.modular.report import circuit_report
from toylab.base import Run
from toylab.configs import stack
from toylab.experiments.grokking.grokking import grokked
from toylab.models import ModularMLP
from toylab.optim import AdamW
from toylab.plots import circles, curves, style
from toylab.tasks import ModularArithmetic
from toylab.train import data

FOLDER, P = Path("my-run"), 29
net = Net.of(ModularMLP, d_vocab=P + 1, d_vocab_out=P + 1, d_model=32, d_mlp=64, embedding="shared")
task = ModularArithmetic(p=P, n_train=504)  # 60 % of the 841 pairs
config = Config(task=task, net=net, optimizer=AdamW(lr=5e-3, weight_decay=2.0))
run([config], Spec(saves=log_then_linear(10, 4000, 60)), FOLDER)

# %% [markdown]
# ## When did it generalise?
#
# `load` gives arrays with the axes run and saved point. There is one run here, so index 0 is it.

# %%
sweep = load(FOLDER)
m, steps = sweep.measures, sweep.steps
train_step, test_step = (steps[(m[f"{half}_accuracy"][0] >= 0.99).argmax()] for half in ("train", "test"))
print(f"grokked: {grokked({'test_accuracy': m['test_accuracy']})[0]}")
print(f"99 % of the training pairs at step {train_step}, of the others at step {test_step}")

# %% [markdown]
# ## What does it compute?
#
# A network can add mod p by rotations: it puts the numbers on circles, and its logits are sums of the cosines
# cos(2πk(a + b − c)/p) for a few frequencies k. An analyzer takes the params of one point, and `analyze` maps it over
# all runs and saved points. `fourier.logits` finds the frequencies that the logits hold (the key frequencies) and how
# much of the logits' variance they explain.

# %%
of_run = Run(config=stack([config]), data={name: np.asarray(x)[None] for name, x in data(config).items()})
params = dict(sweep.params)
last = {name: value[:, -1:] for name, value in params.items()}
final = {f"logits/{name}": x[:, 0] for name, x in analyze(fourier.logits, last, of_run).items()}
key = final["logits/key"][0]
print("key frequencies", np.flatnonzero(key), f"explain {final['logits/fve'][0]:.3f} of the logits' variance")

# %% [markdown]
# The progress measures of Nanda et al. 2023 say when that circuit appears. The restricted loss is that of the key cosines
# alone, the excluded loss that of all the rest.

# %%
losses = analyze(progress.losses, params, of_run.replace(final=final))
phases = np.full((1, 3), np.nan)  # ends of memorisation, circuit formation, cleanup: not judged here
four = m["train_loss"], m["test_loss"], losses["restricted"], losses["excluded"]
style.save(curves.progress(steps, *four, phases, xscale="log"), "progress.png")

# %% [markdown]
# **What to look at.** The restricted loss falls while the test loss is still high: the circuit is there before the
# network generalises. The excluded loss falls a little while pairs are learned by heart, and then rises again: what
# was learned by heart goes away.
#
# Each key frequency has a circle, here as far as the embedding shows it:

# %%
style.save(circles.embedding_circles(last["W_E"][0, 0, :P], key), "circles.png")

# %% [markdown]
# **What to look at.** Number a lies at the angle 2πka/29, so the colours go once around each circle. Before
# training there is only a cloud: draw `params["W_E"][0, 0, :P]`.
#
# ## Clock or pizza?
#
# All measures of a network of modular addition at once, as a mapping that prints as a short report.

# %%
print(circuit_report(net, {name: value[0, 0] for name, value in last.items()}, p=P))

# %% [markdown]
# ## Go on
#
# - Train with another weight decay, or another seed: which frequencies are key then?
# - The full-size model of the paper, with its claims: `toylab run grokking`. [How the pages are
#   built](../grokking.md).
# - The same analyses for a network that you have: [weights of your own](../weights.md).
