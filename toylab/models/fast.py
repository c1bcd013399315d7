"""The transformer's fast path: the same logits as the plain one's, in the forms that training is fast with."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from toylab.base import Cache
from toylab.models.attention import asked_once, attend, attend_last, heads_last, narrowing, rows, times
from toylab.models.positions import by_key, rotated

FEW = 8  # positions up to which a table of what enters the first layer pays


def logits(net: Any, x: Array) -> tuple[Array, Cache]:
    """The output of a Transformer for x, in a fraction of the plain form's time.

    Its cache has `mlp_post` [1, B, Q, d_mlp] of the last layer, where it has an MLP, at the Q positions that are read.

    What enters the first layer depends on (position, token) alone: with few positions and tokens its q, k and v are
    computed once for each such pair and gathered. Where only the last position is read, only it has a query and an MLP
    in the last layer. All else is the order of axes that XLA:CPU is fast with (attention.py).
    """
    batch, n_positions = x.shape[:2]
    tabled = (
        net.inputs == "tokens"
        and net.positions in ("abs", "sinusoidal")
        and n_positions <= FEW
        and 4 * net.width <= batch
    )
    cache: Cache = {}
    resid = x if tabled else net.enter(x)  # tokens enter the first layer through its table
    for layer in range(net.n_layers):
        only_last = net.readout == "last" and layer == net.n_layers - 1
        at = slice(-1, None) if only_last else slice(None)
        if layer == 0 and tabled:
            z, resid = _from_tables(net, x, at)
        else:
            resid = resid.reshape(batch, n_positions, resid.shape[-1])
            z, resid = _attention(net, layer, resid, at), resid[:, at]
        resid = resid.reshape(-1, resid.shape[-1])  # [B·Q, d_model]: XLA:CPU copies [B, 1, d_model] for each gradient
        z = z.reshape(len(resid), net.n_heads * net.W_V.shape[-1])  # [B·Q, H·d_head], B may be 0
        resid = resid + (times(z, net.W_O[layer].reshape(-1, resid.shape[-1])) if net.output_matrix else z)
        resid = net.norm(resid, "ln1_post", layer)
        if net.d_mlp:
            post = net.activate(net.plus(net.norm(resid, "ln2", layer) @ net.W_in[layer], "b_in", layer))
            if layer == net.n_layers - 1:
                cache["mlp_post"] = post.reshape(1, batch, resid.shape[0] // max(batch, 1), post.shape[-1])
            resid = net.plus(resid + narrowing(post, net.W_out[layer]), "b_out", layer)
            resid = net.norm(resid, "ln2_post", layer)
    found = net.read_out(resid, product=times)
    return (found if net.readout == "last" else found.reshape(batch, n_positions, found.shape[-1])), cache


def _attention(net: Any, layer: int, resid: Array, at: slice) -> Array:
    """z [B, Q, H, d_head] for the queries at `at`, from resid [B, P, d_model]."""
    one_head = net.n_heads == 1 and net.positions in ("abs", "none") and not net.blends
    if one_head and at.start == -1:
        return asked_once(net.reads("k", layer, resid), *(W[layer, 0] for W in (net.W_Q, net.W_K, net.W_V)))
    if one_head and net.W_Q.shape[2] == net.W_Q.shape[3]:  # x W_Q W_Kᵀ meets x as it is
        k = net.reads("k", layer, resid)[:, None]  # [B, 1, P, d_model]
        q = times(k, net.W_Q[layer, 0] @ net.W_K[layer, 0].T)
    else:
        q, k = _heads(net, "q", layer, resid, at), _heads(net, "k", layer, resid)
    v = _heads(net, "v", layer, resid)
    if q.shape[2] > 1 and 4 * k.shape[2] < q.shape[3]:  # turning q, k, v about costs more
        return jnp.swapaxes(net.pattern(net.scores(layer, q, k)) @ v, 1, 2)
    extra = None
    if net.positions == "rotary":
        q, k = (rotated(x, k.shape[2]) for x in (q, k))
    if net.positions == "relative":
        by_distance = jnp.einsum("bhqe,hne->bhqn", q, net.W_rel[layer][:, : k.shape[2]])
        extra = jnp.swapaxes(by_key(by_distance), 2, 3)  # [B, H, P, Q]
    q, k, v = (jnp.swapaxes(x, 2, 3) for x in (q, k, v))  # [B, H, d_head, P]
    z = attend_last(q, k, v, extra) if q.shape[3] == 1 else attend(q, k, v, extra, net.causal)
    return net.blend(jnp.transpose(z, (0, 3, 1, 2)), jnp.transpose(v, (0, 3, 1, 2)))


def _heads(net: Any, name: str, layer: int, resid: Array, at: slice = slice(None)) -> Array:
    """q, k or v [B, H, Q, d_head] at Q positions, as one product for all heads, from the residual of all positions."""
    W = getattr(net, f"W_{name.upper()}")[layer]
    n_heads, d_model, d_head = W.shape
    read = net.reads(name, layer, resid)[:, at]  # sliced last: what is read may depend on the position
    flat = times(read, jnp.swapaxes(W, 0, 1).reshape(d_model, n_heads * d_head))
    return jnp.swapaxes(flat.reshape(*flat.shape[:2], n_heads, d_head), 1, 2)


def _from_tables(net: Any, tokens: Array, at: slice) -> tuple[Array, Array]:
    """z [B, Q, H, d_head] of the first layer, and the residual at `at`, from a table [P, V, d_model] of its inputs.

    With few tokens even q·k is a table, over pairs of tokens: its V² entries a pair of positions, computed as one
    matrix product, are cheaper than B small dot products as long as V² is at most about 4 B (measured on CPU).
    """
    batch, n_positions, n_vocab = *tokens.shape, len(net.W_E[...])
    table = net.W_E + net.added(n_positions)[:, None]  # [P, V, d_model]
    x = net.norm(table, "ln1", 0)
    q = jnp.einsum("pvd,hde->pvhe", x[at], net.W_Q[0])
    k = jnp.einsum("pvd,hde->pvhe", x, net.W_K[0])
    v = rows(jnp.einsum("pvd,hde->pvhe", x, net.W_V[0]), tokens)
    if n_vocab**2 <= 4 * batch:
        pairs = tokens[:, at, None] * n_vocab + tokens[:, None, :]  # [B, Q, P]
        scores = jnp.einsum("qvhe,kwhe->qkvwh", q, k).reshape(len(q) * len(k), n_vocab**2, q.shape[2])
        scores = rows(scores, pairs.reshape(batch, len(q) * len(k))).reshape(batch, len(q), len(k), q.shape[2])
    else:
        scores = jnp.einsum("bqhe,bkhe->bqkh", rows(q, tokens[:, at]), rows(k, tokens))
    z = heads_last(scores / q.shape[-1] ** 0.5, v, net.causal)
    return net.blend(z, v), rows(table[at], tokens[:, at])
