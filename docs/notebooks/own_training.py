# %% [markdown]
# # Tutorial: bring your own training
#
# You have a training loop of your own, in Flax, PyTorch or NumPy, and want to know what happened in the weights along
# the way. Here a network in Flax learns to add modulo 23 in a loop that knows nothing of this lab. Three lines record
# it. Then you measure it as the lab measures its own runs. All of it takes about a minute on two CPU cores.
#
# ## Install
#
# You need Python 3.11 or later. In a clone of the repository:
#
# ```sh
# pip install -e .
# ```
#
# Put the cells below into a notebook or a script, one after another.
#
# ## The training
#
# The network is the MLP of Chughtai et al. 2023: an embedding of each of the two numbers, one hidden layer, no biases.
# It is trained on 370 of the 529 pairs of numbers, with weight decay.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from toylab import load
from toylab.analysis import fourier, progress, task_measures, together
from toylab.plots import style
from toylab.plots.attention.stages import Panel, stages
from toylab.record import Recorder
from toylab.tasks import ModularPairs

p = 23
pairs = np.stack(np.meshgrid(np.arange(p), np.arange(p), indexing="ij"), axis=-1).reshape(-1, 2)
train, test = np.split(np.random.default_rng(0).permutation(pairs), [370])


class Adder(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        shapes = {"W_x": (p, 16), "W_y": (p, 16), "W": (32, 64), "W_U": (64, p)}
        for name, shape in shapes.items():
            setattr(self, name, nnx.Param(jax.random.normal(rngs.params(), shape) / 4))

    def __call__(self, pairs: jax.Array) -> jax.Array:
        both = jnp.concatenate([self.W_x[pairs[:, 0]], self.W_y[pairs[:, 1]]], axis=1)
        return jax.nn.relu(both @ self.W[...]) @ self.W_U[...]


def loss_of(model: Adder, pairs: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(pairs), pairs.sum(1) % p).mean()


@nnx.jit
def update(model: Adder, optimizer: nnx.Optimizer) -> jax.Array:
    loss, gradient = nnx.value_and_grad(loss_of)(model, train)
    optimizer.update(model, gradient)
    return loss


# %% [markdown]
# ## Three lines that record it
#
# A `Recorder` is called at each step and saves a point every 25 of them. At a step at which it saves, it copies the
# weights; what the optimizer does to them afterwards changes nothing. At all other steps it does nothing.
#
# - `layout` says whose names your arrays have. These are of the code of Chughtai et al., so the lab knows the network.
#   [The layouts](../layouts.md) are those of `importers.load`. Without one your arrays keep their own names, and
#   everything that asks for no network of the lab works still.
# - `name` and `fields` tell runs apart: each seed is a run of one sweep, and its fields are its columns.
# - Measures are numbers that you have anyway. For those that take time ask `recorder.wants(step)` first.

# %%
for seed in range(2):
    model = Adder(nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2, weight_decay=1.0), wrt=nnx.Param)
    with Recorder("adder", layout="universality", every=25, name=f"seed_{seed}", fields={"seed": seed}) as recorder:
        for step in range(1501):
            if recorder.wants(step):
                recorder(step, model, test_loss=loss_of(model, test))
            update(model, optimizer)

# %% [markdown]
# Points are committed in the background, about every minute. Where the process is killed, those stay, and the same
# script goes on: `recorder.last_step` says up to where it was recorded, and `wants` asks for later steps alone. What is
# recorded is never written over. A training with other settings needs another `name`, or another folder.
#
# ## Read it back
#
# `load` gives the runs of the folder as a sweep: arrays with the axes run and saved point. `toylab status adder` says
# how far each run is, while it trains too.

# %%
sweep = load("adder")
print(sweep.runs, sweep.columns["seed"], sweep.config(0).net.module.__name__)
print("test loss at the end", np.round(sweep.measures["test_loss"][:, -1], 3))
print("embedding of the first number", sweep.params["W_E"].shape, "run, point, input, number, dimension")

# %% [markdown]
# ## Measure it
#
# Any analyzer of the lab runs over all points of all runs. What a recorded run does not say you give: the task, and the
# pairs that it was trained on. The progress measures of Nanda et al. 2023 compare the logits with those that the
# network's key frequencies make alone (restricted), and with what is left without them on the training set (excluded).
# The key frequencies are those of the last point, which `final` computes first.

# %%
along = together(measures=task_measures, progress=progress.losses)
found = sweep.analyze(along, task=ModularPairs(p=p), train=train, final={"logits": fourier.logits})
losses = {which: f"measures/{which}_loss" for which in ("train", "test")}
losses |= {which: f"progress/{which}" for which in ("restricted", "excluded")}
for name, field in losses.items():
    print(f"{name:10}", np.round(found[field][0, [0, 4, 12, 60]], 2), "at steps 0, 100, 300 and 1,500")

# %% [markdown]
# A plot takes arrays. It also takes a sweep, or measures by name with their steps, and names in place of arrays.

# %%
accuracies = {which: f"measures/{which}_accuracy" for which in ("train", "test")}
panels = [Panel("accuracy", accuracies, ylim=(0, 1.02)), Panel("loss (nats)", losses, log=True)]
style.save(stages({"steps": sweep.steps, **found}, panels), "progress.png")

# %% [markdown]
# **What to look at.** The training set is fitted within 100 steps, when all test pairs are wrong. From then on the
# restricted loss falls and the excluded loss rises: the circuit that adds grows, and takes over what was memorised. The
# test accuracy begins to rise 100 steps later.
#
# ## The same in PyTorch
#
# `pip install -e '.[torch]'`. The recorder takes the module; nothing else differs. JAX only writes the files here: where
# a GPU is PyTorch's, set `JAX_PLATFORMS=cpu`.
#
# ```python title="torch_adder.py"
# import numpy as np
# import torch
#
# from toylab.record import Recorder
#
# p, draw = 23, torch.Generator().manual_seed(0)
# pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))[torch.randperm(p * p, generator=draw)]
# train, test = pairs[:370], pairs[370:]
# shapes = {"W_x": (p, 16), "W_y": (p, 16), "W": (32, 64), "W_U": (64, p)}
# net = torch.nn.ParameterDict({name: torch.randn(*shape, generator=draw) / 4 for name, shape in shapes.items()})
#
#
# def loss_of(pairs):
#     both = torch.cat([net["W_x"][pairs[:, 0]], net["W_y"][pairs[:, 1]]], dim=1)
#     return torch.nn.functional.cross_entropy(torch.relu(both @ net["W"]) @ net["W_U"], pairs.sum(1) % p)
#
#
# np.save("train.npy", train)
# optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1.0)
# with Recorder("torch_adder", layout="universality", every=100) as recorder:
#     for step in range(1001):
#         loss = loss_of(train)
#         recorder(step, net, loss=loss)
#         optimizer.zero_grad()
#         loss.backward()
#         optimizer.step()
# ```
#
# ## Go on
#
# - You have a folder of checkpoints already: [`importers.load_many`](../weights.md#a-trajectory-of-your-own).
# - Record other networks in the same folder under other names, with `fields={"width": 32}`, and select them by it.
# - Record a network of no layout, and analyze it by a function of your own: `sweep.analyze(f)` with
#   `f(params, run)` that gives a dict of arrays.
