# %% [markdown]
# # Find an induction circuit
#
# A two-layer attention-only transformer learns to copy on blocks that repeat. Then: which heads do it, what do their
# weights say, and which edges between them matter?
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
