# %% [markdown]
# # Tutorial: why do networks grok? Five answers, five experiments
#
# A network fits its training set and generalises long after. Why so late, and why at all? Papers give different
# answers. Each of them is a small experiment, and none excludes the others. Here you run five, on networks so small
# that all of them together take about two minutes on two CPU cores. The pages that they belong to have 8 to 20 seeds,
# with claims and intervals; here a run or two must do.
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

# %%
from pathlib import Path

import numpy as np

from toylab import Config, Net, Spec, load, log_then_linear, run
from toylab.models import Dense, DiagonalNet, ModularMLP
from toylab.optim import SGD, Adam, AdamW, Chain, KeepNorm
from toylab.plots import stages, style
from toylab.sweep import Starts, grid
from toylab.tasks import ModularArithmetic, SparseLinear, SparseParity

HERE = Path("five-answers")


def adder(p: int, share: float, optimizer: object, d_model: int = 32, d_mlp: int = 64, **net: object) -> Config:
    """A quadratic network without biases that adds mod p."""
    sizes = {"d_vocab": p, "d_vocab_out": p, "d_model": d_model, "d_mlp": d_mlp}
    module = Net.of(ModularMLP, **sizes, embedding="shared", activation="quadratic", **net)
    return Config(ModularArithmetic(p=p, n_train=int(share * p**2)), module, optimizer)


def first(steps: np.ndarray, true: np.ndarray) -> float:
    """The first step at which something holds; inf where it never does."""
    return float(steps[true.argmax()]) if true.any() else np.inf


# %% [markdown]
# ## 1. The norm of the weights is too large
#
# Liu et al. 2022 (Omnigrok): there is a norm at which networks generalise. One that starts with more fits its training
# set at once, and generalises when weight decay has brought it down. The test is to take the way away: hold the norm
# where it is. `KeepNorm` does so after each step, and the initial scale sets it. Four norms are one program.

# %%
fixed = Chain(Adam(lr=1e-2, b2=0.98), after=(KeepNorm(),))
runs = grid(adder(31, 0.5, fixed), {"net.init_scale": [0.5, 1.3, 1.7, 4.0]})
run(runs, Spec(saves=log_then_linear(10, 800, 30)), HERE / "norm")
sweep = load(HERE / "norm")
norms = np.sqrt(
    sum((value[:, -1] ** 2).sum(axis=tuple(range(1, value[:, -1].ndim))) for value in sweep.params.values())
)
for norm, train, test in zip(norms, *(sweep.measures[f"{which}_accuracy"] for which in ("train", "test")), strict=True):
    steps = [first(sweep.steps, curve >= 0.9) for curve in (train, test)]
    print(f"norm {norm:4.1f}: 90 % of the training set at step {steps[0]:4.0f}, of the test set at {steps[1]:4.0f}")

# %% [markdown]
# **What to look at.** Too small a norm cannot fit. In the valley the network generalises while it fits: no grokking.
# Beyond it, it fits and never generalises. The page `norm_landscape` has the whole landscape.
#
# ## 2. The lazy solution comes first
#
# Lyu et al. 2023: from large weights a network acts as a kernel, whose solution fits the training set and does not
# generalise. Weight decay λ takes it to a rich solution, and that takes the time (ln α + const)/λ for weights of size
# α. Here the network is w = u² − v², on labels that three of 500 inputs decide.

# %%
task = SparseLinear(d=500, s=3, n_train=40, n_test=1000)
base = Config(task, Net.of(DiagonalNet, d_in=500, alpha=1.0), SGD(lr=0.01, weight_decay=0.01))
run(grid(base, {"net.alpha": [3.0, 6.0, 12.0]}), Spec(saves=range(0, 30_001, 300)), HERE / "lazy")
sweep = load(HERE / "lazy")
for alpha, train, test in zip(
    (3, 6, 12), *(sweep.measures[f"{which}_accuracy"] for which in ("train", "test")), strict=True
):
    half = (test[0] + test[-1]) / 2
    time = 0.01 * 0.01 * first(sweep.steps, test > max(half, 0.75))
    print(f"α = {alpha}: fits by step {first(sweep.steps, train == 1):.0f}; test accuracy rises at λt = {time:.2f}")

# %% [markdown]
# **What to look at.** Each doubling of α adds about ln 2 = 0.69 to λt, and nothing to the time of the fit.
#
# ## 3. A sparse circuit has to win against a dense one
#
# Merrill et al. 2023: on a sparse parity most neurons of a network take part in memorising. Weight decay starves them,
# and a few neurons that compute the parity remain.

# %%
bits = SparseParity(n_bits=30, k=3, n_train=600)
net = Net.of(Dense, d_in=30, d_out=1, widths=(300,), output_bias=False)
parity = Config(bits, net, SGD(lr=0.1, weight_decay=0.01))
run([parity], Spec(saves=range(0, 5001, 100)), HERE / "circuits")
sweep = load(HERE / "circuits")
lengths = np.linalg.norm(sweep.params["W_0"][0], axis=1)  # [T, neurons]
grown = np.argsort(-lengths[-1])[:8]
rest = np.setdiff1d(np.arange(300), grown)
accuracy = {which: sweep.measures[f"{which}_accuracy"] for which in ("train", "test")}
neurons = {"eight largest at the end": lengths[:, grown].mean(1)[None], "all others": lengths[:, rest].mean(1)[None]}
panels = [stages.Panel("accuracy", accuracy, ylim=(0.4, 1.02)), stages.Panel("norm of a neuron", neurons, log=True)]
style.save(stages.stages(sweep.steps, panels), "circuits.png")

# %% [markdown]
# **What to look at.** The training set is fitted with all neurons alike. The test accuracy rises as eight of them
# grow and all others fade. The page `two_circuits` measures how few say all that the network says.
#
# ## 4. The circuit that generalises is the cheaper one
#
# Varma et al. 2023: to memorise more pairs takes more weight, to add does not. So there must be a number of pairs below
# which memorising is cheaper, and a network that has grokked must forget when it goes on with fewer. `Starts` begins
# runs where others ended.

# %%
decay = AdamW(lr=1e-2, weight_decay=1.0)
whole = adder(31, 0.95, decay)
run([whole], Spec(saves=[0, 1000]), HERE / "whole")
fewer = [whole.replace(task=whole.task.replace(n_train=n)) for n in (96, 384)]
starts = Starts.matched(HERE / "whole", "whole", fewer, [whole])
run(fewer, Spec(saves=log_then_linear(10, 1000, 20), start=starts), HERE / "fewer")
for group in load(HERE / "fewer"):
    n, test = group.configs[0]["task"]["n_train"], group.measures["test_accuracy"][0]
    print(f"{n} pairs: test accuracy {test[0]:.2f} at the start, {test[-1]:.2f} after 1,000 steps")

# %% [markdown]
# **What to look at.** With 384 pairs the network keeps what it knows. With 96 it forgets, though its training accuracy
# is 1 throughout. The page `circuit_efficiency` finds the critical number.
#
# ## 5. It is the rounding
#
# Where no weight decay acts, training goes on at losses that are all but 0. The usual float32 cross-entropy then loses
# the label's part of the gradient (Prieto et al. 2025), the weights run away, and the loss comes back in spikes
# (Thilak et al. 2022). The exact loss of this lab has none.

# %%
plain = adder(23, 0.5, Adam(lr=1e-2, b2=0.98), d_model=64, d_mlp=128)
plain = plain.replace(net=plain.net.with_fields(activation="relu"))
kinds = {"exact": "cross_entropy", "usual": "naive_cross_entropy"}
pair = [plain.replace(task=plain.task.replace(loss_kind=kind)) for kind in kinds.values()]
run(pair, Spec(saves=range(0, 2501, 10)), HERE / "rounding")
losses = {}
for group in load(HERE / "rounding"):
    kind = group.configs[0]["task"].get("loss_kind", "cross_entropy")
    losses[next(name for name, one in kinds.items() if one == kind)] = group.measures["train_loss"]
for name in kinds:
    lowest = np.minimum.accumulate(losses[name][0])
    spikes = (losses[name][0] > np.maximum(10 * lowest, 1e-4)) & (group.steps > 500)
    print(
        f"{name} loss: {'spikes' if spikes.any() else 'no spike'} after step 500, {losses[name][0][-1]:.1e} at the end"
    )
style.save(stages.stages(group.steps[1:], [stages.Panel("train loss (nats)", {
    name: curve[:, 1:] for name, curve in losses.items()}, log=True)]), "rounding.png")  # fmt: skip

# %% [markdown]
# **What to look at.** Both curves fall together. Near 10⁻⁷ the usual loss stops and spikes; the exact one goes on.
#
# ## Which is it?
#
# The first four are one story told in different units. Weight decay moves a network from a solution that is reached
# fast to one that costs less weight; how far that is depends on where it starts, and how much less it costs on how many
# data there are. The fifth is what happens where weight decay does not act.
#
# ## Go on
#
# - With 20 seeds, claims and intervals: `toylab run two_circuits`, `toylab run circuit_efficiency`,
#   `toylab run slingshot`. [How the pages are built](../grokking.md).
# - Change one thing: another λ in 2, another number of pairs in 4, `eps=1e-5` in the Adam of 5.
# - [Start runs where others ended](../sweeps.md#start-where-other-runs-ended) in your own work.
