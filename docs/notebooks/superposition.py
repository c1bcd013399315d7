# %% [markdown]
# # Tutorial: superposition
#
# You train a model that must store five features in two dimensions (Elhage et al. 2022). When features are sparse it
# stores all five, as the corners of a pentagon. You watch the corners find their places.
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
# The model gives back x' = ReLU(x W Wᵀ + b). Row i of W is where feature i lies in the two dimensions. Each feature
# is 0 in 90 % of the examples. Eight seeds train in one program, because most end in another arrangement; the one
# with the lowest loss is shown. Density, learning rate and the number of seeds were chosen by trying, so that one of
# them ends in the pentagon within a minute.

# %%
from pathlib import Path

import numpy as np

from toylab import Config, Net, Spec, load, log_then_linear, run
from toylab.analysis import geometry
from toylab.models import ToyModel
from toylab.optim import AdamW
from toylab.plots import motion, style
from toylab.tasks import SparseFeatures

net = Net.of(ToyModel, n_features=5, n_hidden=2)
task = SparseFeatures(n_features=5, batch=512, n_eval=4096, density=0.1)
configs = [Config(task, net, AdamW(lr=3e-3, weight_decay=0.0, b2=0.999, warmup=0), seed=seed) for seed in range(8)]
run(configs, Spec(saves=log_then_linear(5, 3000, 60)), Path("pentagons"))

# %% [markdown]
# ## Which arrangement?
#
# `load` gives arrays with the axes run and saved point. The dimensionality of a feature is the share of a dimension
# that it has for itself: 1 alone, 1/2 as one of an antipodal pair, 2/5 in a pentagon.

# %%
sweep = load("pentagons")
loss = sweep.measures["loss"]  # [R, T]
best = int(loss[:, -1].argmin())
W = sweep.params["W"][best]  # [T, 5, 2]
print("final losses", np.round(loss[:, -1], 5))
print("dimensionality of each feature", np.round(np.asarray(geometry.dimensionality(W[-1])), 3))
print("they form:", geometry.describe(W[-1], atol=0.1))

# %% [markdown]
# ## Watch it form

# %%
style.save(motion.strip(W, sweep.steps, loss[best]), "strip.png")

# %% [markdown]
# **What to look at.** At first all features are near the origin, and the loss hardly falls. Near step 100 two of them
# still lie on each other, and the loss stays on a plateau until these two part. From then on it is the pentagon.
#
# The same as a film: `motion.animation` takes 40 of the saved points as frames, and `style.save` writes a GIF.

# %%
style.save(motion.animation(W, sweep.steps, loss[best], frames=40), "pentagon.gif")

# %% [markdown]
# ## Go on
#
# - Set `density=1.0`: the features are dense, and only two of them are stored, at right angles.
# - Print `geometry.describe(W, atol=0.1)` of the other seeds. What do they form?
# - The figures of the paper, with its claims: `toylab run superposition`. [How the pages are
#   built](../superposition.md).
