"""Decoder-only transformers of any depth, with the whole cache and patches, and a fast path for training.

Parameter and activation names and shapes are TransformerLens', a layer axis first. Set-up and init of Nanda et al. 2023
(arXiv 2301.05217, released code): N(0, 1)/√d_model for every matrix but W_U, which is N(0, 1)/√d_vocab_out; biases only
in the MLP and the hidden read-out layers, zero at the start; no LayerNorm unless asked for.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from toylab.base import Cache, Patch
from toylab.models import fast
from toylab.models.activations import ACTIVATIONS, Activation
from toylab.models.attention import visible
from toylab.models.parts import Parts
from toylab.models.positions import Positions, by_key, rotated, sinusoidal
from toylab.shapes.indices import check_range, nan_outside

EMBED = "embed"  # patched only, with layer 0: what the tokens (or x) enter as, [B, P, d_model], before positions
INPUTS = ("q_input", "k_input", "v_input")  # patched only: the residual [B, H, P, d_model] as each head reads it
MLP_INPUT = "mlp_input"  # and [B, P, d_model] as the MLP does, before LayerNorm
ATTENTION = ("q", "k", "v", "scores", "pattern", "z", "result", "attn_out")
MLP = ("mlp_pre", "mlp_post", "mlp_out")
ADDED = ("abs", "sinusoidal")  # positions that are added to what enters the first layer


class Transformer(Parts):
    """tokens int [B, P] → logits [B, C] (read-out "last") or [B, P, C] ("all"), C = d_vocab_out, P ≤ n_ctx.

    With inputs "vectors", x [B, P, d_vocab] enters as x W_E; with "residual", x [B, P, d_model] as it is, without W_E.
    To differentiate by the embeddings of given tokens, patch them in: `patch={"embed": lambda value, layer: E}`.

    Args:
        d_vocab: Tokens; with other inputs the width of what enters.
        d_vocab_out: Classes C of the logits.
        n_ctx: The most positions of an input.
        n_layers: Layers L.
        d_model: Width of the residual stream.
        n_heads: Heads H in a layer.
        d_head: Width of a head; 0 for d_model / n_heads.
        output_matrix: Whether there is a W_O; without it the heads' z, side by side, are what attention adds (Reddy 2023).
        d_mlp: Neurons in a layer; 0 for attention only.
        activation: The nonlinearity of the MLPs.
        layer_norm: Whether there is LayerNorm: ln1 in each layer, ln2 where there is an MLP, ln_final; eps 1e-5.
        causal: Whether a position sees only itself and those before it.
        positions: How positions enter.
        inputs: What an input is: tokens, vectors that W_E embeds, or the residual itself.
        readout: Where logits are read: at the last position, or at all.
        readout_layers: Hidden ReLU layers of width d_model before W_U (Reddy 2023: 3).
        init_scale: Factor of every weight at the start.
    """

    blends: bool = False  # whether `pattern` is more than a softmax (pizza.py)
    parallel: bool = False  # whether the MLP reads what attention reads (neox.py)
    rotary_dim: int = 0  # how many entries of a head turn, 0: all (neox.py)

    def __init__(
        self,
        *,
        d_vocab: int,
        d_vocab_out: int,
        n_ctx: int,
        n_layers: int = 1,
        d_model: int = 128,
        n_heads: int = 4,
        d_head: int = 0,
        output_matrix: bool = True,
        d_mlp: int = 512,
        activation: Activation = "relu",
        layer_norm: bool = False,
        causal: bool = True,
        positions: Positions = "abs",
        inputs: Literal["tokens", "vectors", "residual"] = "tokens",
        readout: Literal["last", "all"] = "last",
        readout_layers: int = 0,
        init_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.n_layers, self.n_heads, self.d_mlp = n_layers, n_heads, d_mlp
        self.activation, self.causal, self.readout = activation, causal, readout
        self.positions, self.inputs, self.readout_layers = positions, inputs, readout_layers
        self.n_ctx, self.width = n_ctx, d_vocab

        def normal(*shape: int, fan: int = d_model) -> nnx.Param:
            return nnx.Param(init_scale * jax.random.normal(rngs.params(), shape) / fan**0.5)

        def constant(value: float, *shape: int) -> nnx.Param:
            return nnx.Param(jnp.full(shape, value, jnp.float32))

        d_head = d_head or d_model // n_heads
        if inputs != "residual":
            self.W_E = normal(d_vocab, d_model)
        if positions in ("abs", "shortformer"):
            self.W_pos = normal(n_ctx, d_model)
        self.W_Q = normal(n_layers, n_heads, d_model, d_head)
        self.W_K = normal(n_layers, n_heads, d_model, d_head)
        self.W_V = normal(n_layers, n_heads, d_model, d_head)
        self.output_matrix = output_matrix
        if output_matrix:
            self.W_O = normal(n_layers, n_heads, d_head, d_model)
        if d_mlp:
            self.W_in, self.b_in = normal(n_layers, d_model, d_mlp), constant(0.0, n_layers, d_mlp)
            self.W_out, self.b_out = normal(n_layers, d_mlp, d_model), constant(0.0, n_layers, d_model)
        if layer_norm:
            for name in ("ln1", "ln2") if d_mlp else ("ln1",):
                setattr(self, f"{name}_w", constant(1.0, n_layers, d_model))
                setattr(self, f"{name}_b", constant(0.0, n_layers, d_model))
            self.ln_final_w, self.ln_final_b = constant(1.0, d_model), constant(0.0, d_model)
        self.W_U = normal(d_model, d_vocab_out, fan=d_vocab_out)
        if positions == "relative":
            self.W_rel = normal(n_layers, n_heads, n_ctx, d_head)
        if readout_layers:
            self.W_R, self.b_R = normal(readout_layers, d_model, d_model), constant(0.0, readout_layers, d_model)

    @staticmethod
    def check(
        *,
        d_model: int,
        n_heads: int,
        d_head: int,
        output_matrix: bool,
        d_vocab: int,
        positions: str,
        inputs: str,
        causal: bool,
        **_: object,
    ) -> None:
        if not d_head and d_model % n_heads:
            raise ValueError(f"net.d_model is {d_model}: it must be divisible by net.n_heads, which is {n_heads}.")
        if positions not in get_args(Positions):
            raise ValueError(f"net.positions is {positions!r}: it must be one of {', '.join(get_args(Positions))}.")
        if positions == "rotary" and (d_head or d_model // n_heads) % 2:
            raise ValueError(
                f"net.positions is rotary and a head has {d_head or d_model // n_heads} dimensions: it must be even."
            )
        if positions == "relative" and not causal:
            raise ValueError("net.positions is relative and net.causal false: distances are those to earlier keys.")
        if not output_matrix and n_heads * (d_head or d_model // n_heads) != d_model:
            raise ValueError(
                f"net.output_matrix is false: net.n_heads · net.d_head must then be net.d_model, {d_model}."
            )
        if inputs == "residual" and d_vocab != d_model:
            raise ValueError(f"net.d_vocab is {d_vocab}: with inputs residual it must be net.d_model, {d_model}.")

    def __call__(self, x: Array, patch: Patch | None = None, full: bool = True) -> tuple[Array, Cache]:
        self._check_input(x)
        logits, cache = self._full(x, patch or {}) if full else fast.logits(self, x)
        if self.inputs != "tokens" or not isinstance(x, jax.core.Tracer):
            return logits, cache
        known = nan_outside(jnp.ones(len(x), logits.dtype), x, len(self.W_E[...]), over=1)  # [B]; factors change no bit
        cache = {name: value * known.reshape(-1, *[1] * (value.ndim - 2)) for name, value in cache.items()}
        return logits * known.reshape(-1, *[1] * (logits.ndim - 1)), cache

    def _check_input(self, x: Array) -> None:
        tokens = self.inputs == "tokens"
        if x.ndim != (2 if tokens else 3) or not 0 < x.shape[1] <= self.n_ctx:
            name, axes = ("tokens", "") if tokens else ("x", f", {self.width}")
            raise ValueError(f"{name} has shape {x.shape}: it must be [batch, 1 to {self.n_ctx} positions{axes}].")
        if not tokens and x.shape[2] != self.width:
            raise ValueError(f"x has vectors of width {x.shape[2]}: it must be net.d_vocab, which is {self.width}.")
        if jnp.issubdtype(x.dtype, jnp.integer) != tokens:
            wanted = "whole numbers, tokens" if tokens else f"floats, for inputs {self.inputs}"
            raise ValueError(f"the input has dtype {x.dtype}: it must hold {wanted}.")
        if tokens:
            check_range("tokens", x, len(self.W_E[...]), "W_E", "rows")

    def _full(self, x: Array, patch: Patch) -> tuple[Array, Cache]:
        """The plain form: every position of every layer, each activation passing through its patch into the cache."""
        known = ("resid_pre", *ATTENTION, *(MLP if self.d_mlp else ()), "resid_post")
        patchable = (EMBED, *INPUTS, *((MLP_INPUT,) if self.d_mlp and not self.parallel else ()), *known)
        if unknown := set(patch) - set(patchable):
            raise ValueError(f"patch names {sorted(unknown)}: the activations are {', '.join(patchable)}.")
        layers: list[Cache] = []

        def keep(name: str, value: Array) -> Array:
            layers[-1][name] = patch[name](value, len(layers) - 1) if name in patch else value
            return layers[-1][name]

        resid = self.enter(x, patch)
        for layer in range(self.n_layers):
            layers.append({})
            resid = keep("resid_pre", resid)
            q, k, v = (keep(name, self._heads(name, layer, resid, patch)) for name in "qkv")
            scores = keep("scores", self.scores(layer, q, k))
            pattern = keep("pattern", self.pattern(scores))
            z = keep("z", jnp.einsum("bhqk,bhke->bhqe", pattern, v))
            W_O = self._output(layer)
            added, by_head = jnp.einsum("bhqe,hed->bqd", z, W_O), jnp.einsum("bhqe,hed->bhqd", z, W_O)
            result = keep("result", by_head)  # far larger than their sum; under jit only computed where it is used
            if "result" in patch:
                added = added + jnp.sum(result - by_head, axis=1)
            before, resid = resid, resid + keep("attn_out", self.attended(layer, added))
            resid = self.norm(resid, "ln1_post", layer)
            if self.d_mlp:
                read = before if self.parallel else resid
                read = patch[MLP_INPUT](read, layer) if MLP_INPUT in patch else read
                x = self.norm(read, "ln2", layer)
                pre = keep("mlp_pre", self.plus(x @ self.W_in[layer], "b_in", layer))
                post = keep("mlp_post", self.activate(pre))
                resid = resid + keep("mlp_out", self.plus(post @ self.W_out[layer], "b_out", layer))
                resid = self.norm(resid, "ln2_post", layer)
            resid = keep("resid_post", resid)
        cache = {name: jnp.stack([kept[name] for kept in layers]) for name in known}
        return self.read_out(resid[:, -1] if self.readout == "last" else resid), cache

    def enter(self, x: Array, patch: Patch | None = None) -> Array:
        """The residual before the first layer, [B, P, d_model]."""
        resid = x if self.inputs == "residual" else x @ self.W_E if self.inputs == "vectors" else self.W_E[x]
        resid = patch[EMBED](resid, 0) if patch and EMBED in patch else resid
        return resid + self.added(x.shape[1]) if self.positions in ADDED else resid

    def added(self, n_positions: int) -> Array:
        """What positions add to the residual before the first layer, [P, d_model]."""
        if self.positions == "abs":
            return self.W_pos[:n_positions]
        return jnp.asarray(sinusoidal(n_positions, self.W_U.shape[0]), jnp.float32)

    def reads(self, name: str, layer: int, resid: Array) -> Array:
        """What queries, keys or values (q, k or v) read of the residual [..., P, d_model]."""
        x = self.norm(resid, "ln1", layer)
        return x + self.W_pos[: x.shape[-2]] if self.positions == "shortformer" and name != "v" else x

    def _heads(self, name: str, layer: int, resid: Array, patch: Patch) -> Array:
        """q, k or v [B, H, P, d_head]. A patch of its input has a copy of the residual for each head."""
        W = getattr(self, f"W_{name.upper()}")[layer]
        if f"{name}_input" not in patch:
            found = jnp.einsum("bpd,hde->bhpe", self.reads(name, layer, resid), W)
        else:
            copies = jnp.broadcast_to(resid[:, None], (len(resid), self.n_heads, *resid.shape[1:]))
            copies = patch[f"{name}_input"](copies, layer)
            found = jnp.einsum("bhpd,hde->bhpe", self.reads(name, layer, copies), W)
        return self.plus(found, f"b_{name.upper()}", layer)

    def _output(self, layer: int) -> Array:
        """W_O [H, d_head, d_model] of a layer; without one, what puts the heads side by side."""
        if self.output_matrix:
            return self.W_O[layer]
        n_heads, d_model, d_head = self.W_V[layer].shape
        return jnp.eye(d_model).reshape(n_heads, d_head, d_model)

    def scores(self, layer: int, q: Array, k: Array) -> Array:
        """[B, H, Q, P] from q [B, H, Q, d_head] and k [B, H, P, d_head], the mask included."""
        if self.positions == "rotary":
            q, k = (rotated(x, k.shape[2], self.rotary_dim) for x in (q, k))
        scores = jnp.einsum("bhqe,bhke->bhqk", q, k)
        if self.positions == "relative":
            scores = scores + by_key(jnp.einsum("bhqe,hne->bhqn", q, self.W_rel[layer][:, : k.shape[2]]))
        scores = scores / q.shape[-1] ** 0.5
        return jnp.where(visible(*scores.shape[2:]), scores, -jnp.inf) if self.causal else scores

    def pattern(self, scores: Array) -> Array:
        """How much each query takes of each key, [B, H, Q, P]."""
        return jax.nn.softmax(scores, axis=-1)

    def attended(self, layer: int, added: Array) -> Array:
        """What attention adds to the residual, [B, P, d_model], from what its heads do together."""
        return self.plus(added, "b_O", layer)

    def blend(self, z: Array, v: Array) -> Array:
        """What `pattern` makes of values v [B, P, H, d_head], from what the softmax alone makes of them, z [B, Q, H,
        d_head]: the fast path's form of it."""
        return z

    def read_out(self, resid: Array, product: Callable[[Array, Array], Array] = jnp.matmul) -> Array:
        """Logits from the residual after the last layer; `product` of it with W_U."""
        x = self.norm(resid, "ln_final")
        for layer in range(self.readout_layers):
            x = jax.nn.relu(x @ self.W_R[layer] + self.b_R[layer])
        return self.plus(product(x, self.W_U[...]), "b_U")

    def activate(self, pre: Array) -> Array:
        return ACTIVATIONS[self.activation](pre)
