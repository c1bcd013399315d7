"""Networks and arrays with known circuits: what an analysis of them must find is known in closed form.

At the end a plain numpy forward pass of the reference models of Zhong et al. 2023 (arXiv 2306.17844), whose
circuits are known from their paper.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from toylab.base import Cache, Config, Params, Run, static


def exact(fn: Callable, *args: Any, **options: Any) -> Any:
    """What `fn` returns in float64, as numpy: jax arrays of 64 bits are not for use outside the context."""
    with jax.enable_x64():
        return jax.tree.map(np.asarray, fn(*args, **options))


def sums(p: int) -> np.ndarray:
    """(a + b) mod p: the labels of the task, [p, p]."""
    n = np.arange(p)
    return (n[:, None] + n) % p


def cosine_logits(p: int, amplitudes: dict[int, float]) -> np.ndarray:
    """Σ_k A_k cos(2πk(a+b−c)/p), [p, p, p] in float64: the logits of an ideal Fourier circuit."""
    d = sums(p)[:, :, None] - np.arange(p)
    return sum((A * np.cos(2 * np.pi * k * d / p) for k, A in amplitudes.items()), np.zeros((p, p, p)))


def cosine_loss(p: int, amplitudes: dict[int, float]) -> float:
    """Cross-entropy of `cosine_logits` at every input: log Σ_d exp(Σ_k A_k (cos(2πkd/p) − 1))."""
    d = np.arange(p)
    return float(np.log(np.exp(sum(A * (np.cos(2 * np.pi * k * d / p) - 1) for k, A in amplitudes.items())).sum()))


def mask_of(p: int, *frequencies: int) -> np.ndarray:
    """The bool mask [p//2 + 1] of some frequencies."""
    return np.isin(np.arange(p // 2 + 1), frequencies)


class HandTask(struct.PyTreeNode):
    p: int = static(default=7)


class HandNet(struct.PyTreeNode):
    """Quadratic neurons on two embedded numbers; the last class and the first position are to be dropped.

    With `all_positions` it reads out at both positions, as a transformer may, and is wrong at the first.
    """

    all_positions: bool = static(default=False)

    def apply(self, params: Params, x: Any, patch: Any = None, *, full: bool = True) -> tuple[Any, Cache]:
        embedded = jnp.asarray(params["W_E"])[x].reshape(len(x), -1)
        acts = jnp.square(embedded @ params["W_in"][0])  # [B, n]
        logits = acts @ params["W_out"][0] @ params["W_U"]
        if not self.all_positions:
            return logits, {"mlp_post": acts[None]}
        first_is_wrong = jnp.stack([-acts, acts], axis=1)
        return jnp.stack([-logits, logits], axis=1), {"mlp_post": first_is_wrong[None]}


def circuit(p: int, amplitudes: dict[int, float], phases: int = 5) -> dict[str, np.ndarray]:
    """Weights of `HandNet` whose logits are `cosine_logits(p, amplitudes)`, class p added, exactly.

    Neuron (k, u, v) is (cos(ka + u) + cos(kb + v))², written out by cos(kc + u + v). Over a grid of at least
    five phases u, v every term but cos(k(a + b − c)) sums to zero (Gromov 2023, arXiv 2301.02679). A neuron's
    variance is 1 in frequency k and 1/8 each from a and b in frequency 2k: its fraction at k is 0.8.
    """
    n, u = np.arange(p), 2 * np.pi * np.arange(phases) / phases
    u, v = (x.ravel() for x in np.meshgrid(u, u))
    W_E, W_in, W_out, W_U = [], [], [], []
    for i, (k, A) in enumerate(amplitudes.items()):
        angle = 2 * np.pi * k * n / p
        waves = np.stack([np.cos(angle), np.sin(angle)])
        reads = np.zeros((2, len(amplitudes), 2, len(u)))  # operand, frequency, cos and sin, neuron
        reads[0, i], reads[1, i] = [np.cos(u), -np.sin(u)], [np.cos(v), -np.sin(v)]
        writes = np.zeros((len(u), len(amplitudes), 2))
        writes[:, i] = 2 * A / len(u) * np.stack([np.cos(u + v), -np.sin(u + v)], axis=1)
        W_E.append(waves.T)
        W_in.append(reads.reshape(4 * len(amplitudes), -1))
        W_out.append(writes.reshape(len(u), -1))
        W_U.append(waves)
    numbers = np.concatenate(W_E, axis=1)
    classes = np.concatenate(W_U)
    return {
        "W_E": np.vstack([numbers, 9 * np.ones(numbers.shape[1])]),  # the last token is no number
        "W_in": np.concatenate(W_in, axis=1)[None],
        "W_out": np.concatenate(W_out)[None],
        "W_U": np.hstack([classes, 9 * np.ones((len(classes), 1))]),  # nor is the last class
    }


def hand_run(p: int, net: Any = None, train: np.ndarray | None = None, **final: Any) -> Run:
    """One run of the modular task without an optimizer; the pairs of `train` [p, p] are the training set."""
    n = np.arange(p)
    pairs = np.stack([np.repeat(n, p), np.tile(n, p)], axis=1).astype(np.int32)
    train = sums(p) % 3 == 0 if train is None else train
    data = {"tokens": pairs, "labels": sums(p), "train_mask": train, "test_mask": ~train}
    config: Any = Config(task=HandTask(p), net=net or HandNet(), optimizer=None)
    return Run(config, data, {name.replace("__", "/"): x for name, x in final.items()})


def pizza_logits(folder: Path, name: str) -> np.ndarray:
    """Logits over all pairs, [59, 59, 59] in float64; bidirectional attention with rate α, read at the last
    position.
    """
    w = {k: v.astype(np.float64) for k, v in np.load(folder / f"{name}.npz").items()}
    config = json.loads((folder / f"{name}.config.json").read_text())
    p = config["C"]
    pairs = np.stack(np.meshgrid(range(p), range(p), indexing="ij"), axis=-1).reshape(-1, 2)
    logits = pizza_linear(w, pairs, config["model_type"]) if "l1.weight" in w else pizza_transformer(w, pairs, config)
    return logits[:, :p].reshape(p, p, p)


def pizza_linear(w: dict[str, np.ndarray], pairs: np.ndarray, kind: str) -> np.ndarray:
    a, b = w["embed.weight"][pairs].transpose(1, 0, 2)
    hidden = np.maximum((np.hstack([a, b]) if kind == "D" else a + b) @ w["l1.weight"].T + w["l1.bias"], 0)
    if "l2.weight" in w:
        hidden = np.maximum(hidden @ w["l2.weight"].T + w["l2.bias"], 0)
    return hidden @ w["unembed.weight"].T


def pizza_transformer(w: dict[str, np.ndarray], pairs: np.ndarray, config: dict) -> np.ndarray:
    x = w["embed.W_E"].T[pairs] + w["pos_embed.W_pos"]  # [B, T, d]
    for layer in range(config["n_layers"]):
        block = {k.split(".")[-1]: v for k, v in w.items() if k.startswith(f"blocks.{layer}.")}
        q, k, v = (np.einsum("btd,hed->bhte", x, block[n]) for n in ("W_Q", "W_K", "W_V"))
        scores = np.einsum("bhqe,bhke->bhqk", q, k) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        weights = weights * config["attn_coeff"] + (1 - config["attn_coeff"])
        z = np.einsum("bhqk,bhke->bqhe", weights, v).reshape(*x.shape[:2], -1)
        x = x + z @ block["W_O"].T
        x = x + np.maximum(x @ block["W_in"].T + block["b_in"], 0) @ block["W_out"].T + block["b_out"]
    return x[:, -1] @ w["unembed.W_U"]


def polygon(k: int) -> np.ndarray:
    """The regular k-gon, unit rows [k, 2]."""
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def simplex(m: int) -> np.ndarray:
    """The regular simplex, unit rows [m + 1, m]: the centred corners of m + 1 dimensions, in their own span."""
    centred = np.eye(m + 1) - 1 / (m + 1)
    rows = centred @ np.linalg.svd(centred)[2][:m].T
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def solid(name: str, z2: float = 1 / 3) -> np.ndarray:
    """A solid by its textbook coordinates, unit rows [n, 3]; z2 is the squared height of the antiprism's vertices."""
    golden = (1 + 5**0.5) / 2
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    turns = [[(0, y, z), (y, z, 0), (z, 0, y)] for y in (-1, 1) for z in (-golden, golden)]
    icosahedron = np.array(turns, float).reshape(-1, 3)
    dual = [(0, y / golden, z * golden) for y in (-1, 1) for z in (-1, 1)]
    dodecahedron = np.concatenate([corners, *(np.roll(np.array(dual), k, axis=1) for k in range(3))])
    squares = [
        (np.cos(a + t), np.sin(a + t), s) for t, s in ((0, 1), (np.pi / 4, -1)) for a in np.arange(4) * np.pi / 2
    ]
    antiprism = np.array(squares) * [(1 - z2) ** 0.5, (1 - z2) ** 0.5, z2**0.5]
    every = {"cube": corners, "icosahedron": icosahedron, "dodecahedron": dodecahedron, "square antiprism": antiprism}
    return every[name] / np.linalg.norm(every[name], axis=1, keepdims=True)


def together_orthogonal(*parts: np.ndarray) -> np.ndarray:
    """The orthogonal sum: each part's features in dimensions of their own, block-diagonal."""
    W = np.zeros((sum(len(part) for part in parts), sum(part.shape[1] for part in parts)))
    row = column = 0
    for part in parts:
        W[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return W


def padded(W: np.ndarray, n: int, m: int) -> np.ndarray:
    """[n, m]: zero rows and columns, which are absent features and empty dimensions. One shape, one compile."""
    return np.pad(W, ((0, n - len(W)), (0, m - W.shape[1])))


def rotation(m: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal [m, m]."""
    return np.linalg.qr(rng.normal(size=(m, m)))[0]
