# %% [markdown]
# # Animate a superposition run
#
# Five features find their places in two dimensions (Elhage et al. 2022). Eight seeds train in one program; the film shows
# the one with the lowest loss. Density, learning rate and the number of seeds were chosen by trying, so that one of them
# ends in the pentagon within a minute; most do not.

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

# %%
sweep = load("pentagons")
loss = sweep.measures["loss"]  # [R, T]
best = int(loss[:, -1].argmin())
W = sweep.params["W"][best]  # [T, 5, 2]
print("final losses", np.round(loss[:, -1], 5))
print("dimensionality of each feature", np.round(np.asarray(geometry.dimensionality(W[-1])), 3))
print("they form:", geometry.describe(W[-1], atol=0.1))

# %%
style.save(motion.strip(W, sweep.steps, loss[best]), "strip.png")

# %% [markdown]
# The same as a film; `motion.animation` gives one frame a saved point, and `style.save` writes a GIF.

# %%
style.save(motion.animation(W, sweep.steps, loss[best], frames=40), "pentagon.gif")
