"""Networks that compose group elements: what each has learned, by irreducible representations.

Chughtai et al. 2023, A toy model of universality (arXiv 2302.03025): inputs a and b are embedded as ρ(a) and ρ(b), the
hidden layer multiplies, and logits are tr ρ(a)ρ(b)ρ(c⁻¹) for a few irreps ρ. Here networks are run and everything is
measured on them at once; the measures of arrays are in explained.py and ablated.py, and public here too.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from toylab.analysis.groups.ablated import hidden_losses, logit_losses
from toylab.analysis.groups.explained import (
    KEY,
    element_fve,
    hidden_fve,
    key_representations,
    logit_fve,
    logit_similarity,
    order_learned,
)
from toylab.analysis.groups.irreps import Representations, check_axis, representations
from toylab.analysis.modular.inputs import Weights
from toylab.analysis.norms import sum_of_squares
from toylab.analysis.numbers import kept
from toylab.base import Network, Params, Run
from toylab.losses import cross_entropy, right
from toylab.shapes import shaped
from toylab.tasks import cayley

__all__ = [
    "KEY", "activations", "element_fve", "formation", "hidden_fve", "hidden_losses", "key_representations", "learned",
    "logit_fve", "logit_losses", "logit_similarity", "measure", "order_learned", "read_out", "report", "tables",
]  # fmt: skip


@shaped
def tables(params: Weights, g: int) -> dict[str, Float[Array, "g _"]]:
    """The functions on the group in a network's weights.

    Args:
        params: Weights of a `ModularMLP` or a one-layer `Transformer`.
        g: The number of elements.

    Returns:
        A dict of arrays [g, m].

        - `a`, `b`: what each operand adds to the hidden layer; of a transformer, for both, the rows of W_E without "=".
        - `U`: the columns of `read_out`.
    """
    W_E = jnp.asarray(params["W_E"])
    pair = jnp.broadcast_to(W_E, (2, *W_E.shape[-2:]))[:, :g]
    if "W_out" not in params:
        pair = jnp.matmul(pair, params["W_in"], precision="highest")
    return {"a": pair[0], "b": pair[1], "U": read_out(params, g).T}


@shaped
def read_out(params: Weights, g: int) -> Float[Array, "m g"]:
    """Hidden layer to logits: W_U, of a transformer W_out W_U.

    Args:
        params: The weights.
        g: The number of elements.

    Returns:
        [m, g].
    """
    W_U = jnp.asarray(params["W_U"])[:, :g]
    return jnp.matmul(jnp.asarray(params["W_out"])[-1], W_U, precision="highest") if "W_out" in params else W_U


@shaped
def measure(
    net: Network,
    params: Params,
    reps: Representations,
    train: Bool[ArrayLike, "g g"],
    key: Bool[ArrayLike, " K"] | None = None,
) -> dict[str, Array]:
    """All measures of a `ModularMLP` or a one-layer `Transformer`. In brackets stand their names in the published tables.

    Args:
        net: The network.
        params: Its weights.
        reps: The irreps.
        train: Mask of the training inputs.
        key: Mask of the key irreps; by default chosen by their similarity.

    Returns:
        A dict. What has no pairs is nan.

        - `similarity` [K], `key` [K].
        - `logit_fve`, `logit_fve_all` [percent_logits_explained]: over the key irreps, and over all.
        - `W_a_fve`, `W_b_fve`, `W_U_fve`, `hidden_fve`, `hidden_ab_fve` [percent_x_embed, y_embed, unembed, hidden,
          hidden_xy…]: over the key irreps; `…_fve_each` [K] by irrep.
        - `restricted_loss`, `excluded_loss` [total_hidden_…], and `…_loss_each` [K].
        - `logit_restricted_loss`, `logit_excluded_loss` [total_logit_…].
        - `accuracy` and `loss` [all_loss] over all pairs; `train_loss`, `test_loss`; `test_ratio`, test_loss over
          restricted_loss.
        - `sum_of_squares` [sum_of_squared_weights].
    """
    check_axis("train", train, "[g, g]", reps)
    g, labels, train = len(reps.table), jnp.asarray(reps.table), jnp.asarray(train)
    z, hidden = activations(net, params, g)
    similarity = logit_similarity(z, reps)
    key = key_representations(similarity) if key is None else jnp.asarray(key)
    of_hidden = hidden_fve(hidden, reps)
    each = {f"W_{name}": element_fve(x, reps) for name, x in tables(params, g).items()}
    each |= {"hidden": of_hidden["total"], "hidden_ab": of_hidden["ab"]}
    ablated = hidden_losses(hidden, read_out(params, g), reps, key, train)
    losses = cross_entropy(z, labels)
    test_loss = jnp.where(train, 0, losses).sum() / (~train).sum()
    return {
        "similarity": similarity,
        "key": key,
        "logit_fve": logit_fve(similarity, key),
        "logit_fve_all": logit_fve(similarity),
        **{f"{name}_fve": kept(key, x).sum() for name, x in each.items()},
        **{f"{name}_fve_each": x for name, x in each.items()},
        **ablated,
        **{f"logit_{name}": x for name, x in logit_losses(z, reps, key, train).items()},
        "accuracy": right(z, labels).mean(),
        "loss": losses.mean(),
        "train_loss": jnp.where(train, losses, 0).sum() / train.sum(),
        "test_loss": test_loss,
        "test_ratio": test_loss / ablated["restricted_loss"],
        "sum_of_squares": sum_of_squares(params)["total"],
    }


def activations(net: Network, params: Params, g: int) -> tuple[Float[Array, "g g g"], Float[Array, "g g m"]]:
    """Logits and hidden activations of all inputs, at the last position, "=" being token g.

    Args:
        net: The network.
        params: Its weights.
        g: The number of elements.

    Returns:
        Logits [g, g, g] and activations [g, g, m].
    """
    a, b = jnp.divmod(jnp.arange(g * g), g)
    logits, cache = net.apply(params, jnp.stack([a, b, jnp.full_like(a, g)], axis=1))
    hidden = cache["mlp_post"][-1]  # [g², m], or [g², positions, m]
    last = [x.reshape(g * g, -1, x.shape[-1])[:, -1] for x in (logits, hidden)]
    return last[0][:, :g].reshape(g, g, g), last[1].reshape(g, g, -1)


@shaped
def report(
    net: Network,
    params: Weights,
    group: cayley.Group,
    n: int,
    *,
    train: Bool[ArrayLike, "g g"] | None = None,
    elements: cayley.Elements | None = None,
) -> dict[str, Any]:
    """`measure` of given weights, in Python numbers.

    Args:
        net: The network.
        params: Its weights.
        group: The kind of group.
        n: Its parameter, as of `cayley.table`.
        train: Which pairs were trained on, [g, g]. By default all; then what is about the others is nan.
        elements: In which order the weights number the permutations of S_n or A_n; by default lexicographic. Those of
            Chughtai et al. have sympy's: `tuple(tuple(p.array_form) for p in SymmetricGroup(5).generate())`.

    Returns:
        `similarity` and what ends in `_each` by the name of the irrep; `key`, a tuple of names; floats otherwise.

    Raises:
        ValueError: For weights that are missing, not finite, or not of this group.
    """
    elements = cayley.as_elements(elements)
    reps = representations(group, n, elements)
    g = len(reps.table)
    if missing := sorted({"W_E", "W_U"} - set(params)):
        raise ValueError(
            f"params has no {' and no '.join(missing)}: it has {', '.join(sorted(params)) or 'no arrays'}."
        )
    table = np.shape(params["W_E"])[-2]
    if table not in (g, g + 1) or np.shape(params["W_U"])[-1] not in (g, g + 1):
        raise ValueError(f"W_E has {table} tokens: the {group} group with n = {n} has {g} elements.")
    if bad := sorted(name for name, x in params.items() if not np.isfinite(np.asarray(x)).all()):
        raise ValueError(f"params {', '.join(bad)} hold nan or infinite numbers: all must be finite.")
    train = jnp.ones((g, g), bool) if train is None else jnp.asarray(train)
    found = _measured(net, {name: jnp.asarray(x) for name, x in params.items()}, train, group, n, elements)
    named: dict[str, Any] = {}
    for name, value in found.items():
        values = np.asarray(value)
        if name == "key":
            named[name] = tuple(irrep for irrep, is_key in zip(reps.names, values, strict=True) if is_key)
        else:
            named[name] = dict(zip(reps.names, values.tolist(), strict=True)) if values.ndim else float(values)
    return named


@partial(jax.jit, static_argnames=("group", "n", "elements"))
def _measured(net: Network, params: Params, train: Array, group: str, n: int, elements: Any) -> dict[str, Array]:
    return measure(net, params, representations(group, n, elements), train)


def learned(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer of a task of group composition: `measure`, with key irreps chosen at each point by itself."""
    return measure(run.config.net, params, _of_task(run), run.data["train_mask"])


def formation(params: Params, run: Run) -> dict[str, Array]:
    """Analyzer: the paper's progress measures.

    The key irreps are those of the run's last point, which `learned` gives as a final analyzer.

    Returns:
        A dict: `similarity` [K], and for the key irreps `logit_fve`, `restricted_loss` and `excluded_loss`.
    """
    reps, key = _of_task(run), run.final["learned/key"]
    z, hidden = activations(run.config.net, params, len(reps.table))
    similarity = logit_similarity(z, reps)
    ablated = hidden_losses(hidden, read_out(params, len(reps.table)), reps, key, run.data["train_mask"], each=False)
    return {"similarity": similarity, "logit_fve": logit_fve(similarity, key), **ablated}


def _of_task(run: Run) -> Representations:
    return representations(run.config.task.group, run.config.task.n)  # type: ignore[attr-defined]
