# %% [markdown]
# # Tutorial: attention
#
# You train a two-layer attention-only transformer on sequences that repeat. It learns to copy what followed the
# present token before: an induction circuit. Then you find the heads, read their weights, and cut the edges between
# them.
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
# Sizes, learning rate and seed were chosen by trying, so that the heads form within a minute.

# %%
from pathlib import Path

import jax
import numpy as np

from toylab import Config, Net, Spec, load, run
from toylab.analysis import circuits, discovery, heads
from toylab.analysis.attention.edges import Graph
from toylab.models import Transformer
from toylab.optim import AdamW
from toylab.plots import style
from toylab.plots.attention import patterns as attention
from toylab.tasks import RepeatedBlocks
from toylab.tasks.sequence import repeated

task = RepeatedBlocks()  # blocks of 8 to 16 of 32 tokens, again and again in a context of 32
sizes = {"d_vocab": 32, "d_vocab_out": 32, "n_ctx": 32, "n_layers": 2, "n_heads": 2, "d_model": 32, "d_mlp": 0}
net = Net.of(Transformer, **sizes, positions="shortformer", readout="all")
config = Config(task, net, AdamW(lr=3e-3, weight_decay=0.01, warmup=20, clip=1.0), seed=1)
run([config], Spec(saves=range(0, 1600, 100)), Path("copying"))

# %% [markdown]
# The loss on the second half of a sequence tells whether the network copies: there everything has been seen before.

# %%
sweep = load("copying")
print("loss on the second half:", np.round(sweep.measures["second_half_loss"][0], 2), f"nats, chance {np.log(32):.2f}")
params = {name: value[0, -1] for name, value in sweep.params.items()}

# %% [markdown]
# ## Which heads?
#
# On random blocks that stand twice, an induction head attends to the token after the last occurrence of the present one.

# %%
tokens = repeated(jax.random.key(1), 64, 32, period=16)
pattern = net.apply(params, tokens)[1]["pattern"]  # [n_layers, batch, n_heads, query, key]
previous = np.asarray(heads.previous_token_score(pattern).mean(1))
induction = np.asarray(heads.induction_score(pattern, period=16).mean(1))
for layer in range(2):
    for head in range(2):
        print(
            f"head {layer}.{head}: previous token {previous[layer, head]:.2f}, induction {induction[layer, head]:.2f}"
        )

# %%
style.save(attention.patterns(np.asarray(pattern)[:, 0], tokens=np.asarray(tokens)[0].tolist()), "patterns.png")

# %% [markdown]
# **What to look at.** The previous-token head of layer 0 has its attention on the line just below the diagonal, most
# clearly in the first half. The induction heads of layer 1 have it on the line 15 below the diagonal, in the second
# half: on the token after the one that stood 16 before.
#
# ## What do the weights say?
#
# Copying is near 1 where a head's OV circuit raises the token that it attends to. K-composition says how much of what a
# head of layer 0 writes the keys of a head of layer 1 read.

# %%
print("copying", np.round(np.asarray(circuits.copying_score(params)), 2))
chance, _ = circuits.random_composition(32, 16)
print("K-composition over that of random heads [head of layer 0, of layer 1]")
print(np.round(np.asarray(circuits.composition(params, "K")) / chance, 2))

# %% [markdown]
# ## Which edges matter?
#
# Each edge between two heads is cut alone, and the squared distance of the logits says what that did. A head of layer 1
# reads through its queries (q), keys (k) and values (v). The edge from the previous-token head to an induction head's
# keys stands high, but need not come first: `circuit_discovery` has that as a claim that fails.

# %%
graph = Graph.of(params)
effects = np.asarray(discovery.edge_effects(net.apply, params, graph, tokens, discovery.squared_distance))
between = {
    (sender, receiver): float(effects[graph.at(sender, receiver)])
    for sender, receiver in graph.named(graph.edges)
    if sender.startswith("0.") and receiver.startswith("1.")
}
for (sender, receiver), effect in sorted(between.items(), key=lambda item: -item[1])[:6]:
    print(f"{sender} -> {receiver}: {effect:.2f}")

# %%
senders, receivers = sorted({s for s, _ in between}), sorted({r for _, r in between})
figure, (ax,) = style.panels(style.COLUMN, 2.2)
image = ax.imshow([[between.get((s, r), np.nan) for r in receivers] for s in senders], cmap="Blues", vmin=0)
ax.set(xticks=range(len(receivers)), xticklabels=receivers, yticks=range(len(senders)), yticklabels=senders)
ax.set(xlabel="read by (head of layer 1, input)", ylabel="written by")
figure.colorbar(image, label="squared distance\nof logits", shrink=0.5)
style.save(figure, "edges.png")

# %% [markdown]
# **What to look at.** The row of the previous-token head (0.1) is dark at the keys (`.k`) of both induction heads:
# what it writes is needed to find the place to copy from. The other head of layer 0 is needed in their values (`.v`):
# it takes part in what is copied.
#
# ## Go on
#
# - Train one layer (`n_layers=1`): the loss stays high. Why can one layer not do it?
# - The circuit through training, with claims: `toylab run induction`. [How the pages are
#   built](../attention.md).
# - Circuit discovery on networks whose circuit is known: [circuit_discovery](../claims/circuit_discovery.md).
