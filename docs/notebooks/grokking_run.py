# %% [markdown]
# # Analyse your own grokking run
#
# A small network learns a + b mod 29, every saved point is read back as arrays, and the functions of `toylab.analysis` say
# what it has learned. To analyse a run that you have, put its folder in place of `FOLDER` and leave the training out.
# The settings (p = 29, 60 % of the pairs, weight decay 2) are no paper's: they were chosen by trying, so that this network
# groks within a minute.

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
# `load` gives arrays with the axes run and saved point.

# %%
sweep = load(FOLDER)
m, steps = sweep.measures, sweep.steps
train_step, test_step = (steps[(m[f"{half}_accuracy"][0] >= 0.99).argmax()] for half in ("train", "test"))
print(f"grokked: {grokked({'test_accuracy': m['test_accuracy']})[0]}")
print(f"99 % of the training pairs at step {train_step}, of the others at step {test_step}")

# %% [markdown]
# ## What does it compute?
#
# An analyzer takes the params of one point, and `analyze` maps it over all runs and saved points: here which cosines the
# logits hold, and the progress measures of Nanda et al. 2023.

# %%
of_run = Run(config=stack([config]), data={name: np.asarray(x)[None] for name, x in data(config).items()})
params = dict(sweep.params)
last = {name: value[:, -1:] for name, value in params.items()}
final = {f"logits/{name}": x[:, 0] for name, x in analyze(fourier.logits, last, of_run).items()}
key = final["logits/key"][0]
print("key frequencies", np.flatnonzero(key), f"explain {final['logits/fve'][0]:.3f} of the logits' variance")

# %%
losses = analyze(progress.losses, params, of_run.replace(final=final))
phases = np.full((1, 3), np.nan)  # ends of memorisation, circuit formation, cleanup: not judged here
four = m["train_loss"], m["test_loss"], losses["restricted"], losses["excluded"]
style.save(curves.progress(steps, *four, phases, xscale="log"), "progress.png")

# %% [markdown]
# The restricted loss (the key cosines alone) falls while the test loss still rises: the circuit is there before the network
# generalises. Each key frequency has a circle, here as far as the embedding shows it:

# %%
style.save(circles.embedding_circles(last["W_E"][0, 0, :P], key), "circles.png")

# %% [markdown]
# ## Clock or pizza?
#
# All measures of a network of modular addition at once, as a mapping that prints as a short report.

# %%
print(circuit_report(net, {name: value[0, 0] for name, value in last.items()}, p=P))
