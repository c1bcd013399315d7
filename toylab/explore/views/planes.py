"""What a network computes over the p × p plane of its inputs: a neuron, an entry of attention, a logit, each with its
energy by pairs of frequencies (the pictures of periodicity of Nanda et al. 2023, arXiv 2301.05217)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from toylab.analysis.modular import planes
from toylab.analysis.modular.networks import passable
from toylab.base import Params
from toylab.explore.declaring import Choice, Controls, Whole, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Heatmap
from toylab.explore.views import modulus

MOST = 512  # p: beyond it a plane has more cells than a screen has pixels, and a million pairs are seconds of computing
ACTIVATIONS = {"pattern": "pattern", "scores before the softmax": "scores"}
POSITIONS = {2: "ab", 3: "ab="}


class Pairs:
    """All pairs as tokens. Static in a jitted function: of tokens that are known, none has to be looked up as unknown."""

    def __init__(self, tokens: Any) -> None:
        self.tokens = np.ascontiguousarray(tokens)
        self._key = self.tokens.shape, self.tokens.dtype.str, self.tokens.tobytes()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and other._key == self._key


@partial(jax.jit, static_argnames=("pairs", "layer"))
def _neuron(net: Any, params: Params, pairs: Pairs, neuron: int, layer: int) -> tuple[Array, Array]:
    plane = planes.neuron_plane(net, params, pairs.tokens, neuron, layer)
    return plane, planes.pair_spectrum(plane)


@partial(jax.jit, static_argnames=("pairs", "layer", "activation"))
def _attention(
    net: Any, params: Params, pairs: Pairs, head: int, key: int, layer: int, activation: Any
) -> tuple[Array, Array]:
    plane = planes.attention_plane(net, params, pairs.tokens, head, key, layer, activation)
    return plane, planes.pair_spectrum(plane)


@partial(jax.jit, static_argnames="pairs")
def _logit(net: Any, params: Params, pairs: Pairs, c: int) -> tuple[Array, Array]:
    plane = planes.logit_plane(net, params, pairs.tokens, c)
    return plane - plane.mean(), planes.pair_spectrum(plane)


# --- what a network has


def _pairs(moment: Moment) -> Pairs:
    return moment.kept("all pairs", lambda: Pairs(moment.data["tokens"]))


def _sizes(moment: Moment) -> Mapping[str, tuple[int, ...]]:
    """The shapes of the activations of all pairs, by name, and of the logits. Nothing is computed.

    Raises:
        ValueError: In a sentence, where the network cannot be run with what is recorded.
    """

    def shapes() -> Mapping[str, tuple[int, ...]] | str:
        params = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in moment.shapes.items()}
        net, tokens = moment.net, _pairs(moment).tokens
        try:
            logits, cache = jax.eval_shape(lambda params: net.apply(params, tokens), params)
        except Exception as error:  # whatever a network of the user's raises for params that are not all there
            return f"The network cannot be run with the recorded params: {str(error).partition(chr(10))[0]}"
        return {name: one.shape for name, one in {**cache, "logits": logits}.items()}

    found = moment.kept("activations", shapes)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _needing(activation: str) -> Callable[[Moment], str | None]:
    """`fits` of a view that needs an activation, which nobody expects of a network that has none."""

    def fits(moment: Moment) -> str | None:
        p = modulus.modulus(moment)
        if p is None:
            return None
        if why := modulus.lacks_weights(moment, []):
            return why
        if moment.net is None:
            return f"The network of {moment.name} is not known, so it cannot be run on all pairs."
        if p > MOST:
            return f"p is {p}: planes of all pairs are drawn up to p = {MOST}."
        if np.shape(moment.data.get("tokens"))[:1] != (p * p,):
            return "The data of the run have no tokens of all pairs."
        try:
            return "" if activation in _sizes(moment) else None
        except ValueError as error:
            return str(error)

    return fits


def _whole(name: str, value: Any, n: int) -> int:
    """A control's value as one of 0 … n − 1."""
    if value not in range(n):
        raise ValueError(f"{name} is {value}: it must be a whole number from 0 to {n - 1}.")
    return int(value)


def _layer(moment: Moment, activation: str) -> Controls:
    n = _sizes(moment)[activation][0]
    return {"layer": Whole("layer", 0, n - 1, n - 1)} if n > 1 else {}


def _two(name: str, drawn: tuple[Array, Array], **plane: Any) -> list[Heatmap]:
    """A plane and its spectrum."""
    values, energy = (np.asarray(one) for one in jax.device_get(drawn))
    total = energy.sum()
    share = energy / total if total > 0 else 0 * energy  # nan where there is nan
    most = np.unravel_index(np.argmax(np.nan_to_num(share)), share.shape)
    peak = f"; ({most[0]}, {most[1]}) has {100 * share[most]:.0f} %" if share[most] > 0 else ""
    return [
        Heatmap(values, name, x="b", y="a", **plane),
        Heatmap(np.sqrt(share), f"√ share of energy{peak}", x="frequency along b",
                y="frequency along a", colours="positive"),
    ]  # fmt: skip


# --- neurons


def _neuron_controls(moment: Moment) -> Controls:
    n = _sizes(moment)["mlp_post"][-1]
    strongest = moment.kept("strongest neuron", lambda: _strongest(moment, n))
    return {"neuron": Whole("neuron", 0, n - 1, strongest), **_layer(moment, "mlp_post")}


def _strongest(moment: Moment, n: int) -> int:
    """The neuron with the longest row of W_L at the last point; 0 where that is not known, or cannot be read."""
    if modulus.lacks_table(moment, "W_L"):
        return 0
    try:
        W_L = modulus.table(moment, "W_L")
    except LookupError:
        return 0
    W_L = np.where(np.isfinite(W_L), W_L, 0)
    return int(np.argmax((W_L**2).sum(axis=1))) if len(W_L) == n else 0


@view("neuron-plane", family="grokking", title="A neuron over all inputs", controls=_neuron_controls,
      fits=_needing("mlp_post"))  # fmt: skip
def neuron_plane(moment: Moment, neuron: int, layer: int | None = None) -> list[Heatmap]:
    """The activation of a neuron at the last position for each pair (a, b), and its spectrum."""
    n_layers, *_, n = _sizes(moment)["mlp_post"]
    layer = _whole("layer", n_layers - 1 if layer is None else layer, n_layers)
    neuron = _whole("neuron", neuron, n)
    found = _neuron(passable(moment.net), moment.params, _pairs(moment), neuron, layer)
    return _two(f"Activation of neuron {neuron}{_of_layer(layer, n_layers)}", found)


def _of_layer(layer: int, n_layers: int) -> str:
    return f" of layer {layer}" if n_layers > 1 else ""


# --- attention


def _positions(moment: Moment) -> list[str]:
    """What stands at each position, such as a, b and "="; their numbers where they are not known."""
    n = _sizes(moment)["pattern"][-1]
    prompt = getattr(moment.task, "prompt", None)
    if prompt is not None:
        signs = {moment.task.p: "=", moment.task.p + 1: "∘", moment.task.p + 2: "<|eos|>"}
        return [signs.get(one, str(one)) for one in prompt]
    return list(POSITIONS[n]) if n in POSITIONS else [f"position {i}" for i in range(n)]


def _attention_controls(moment: Moment) -> Controls:
    n_heads = _sizes(moment)["pattern"][2]
    names = _positions(moment)
    return {
        "head": Whole("head", 0, n_heads - 1, 0),
        "key": Choice("position looked at", names, names[0]),
        "shown": Choice("shown", list(ACTIVATIONS), next(iter(ACTIVATIONS))),
        **_layer(moment, "pattern"),
    }


@view("attention-plane", family="grokking", title="Attention over all inputs", controls=_attention_controls,
      fits=_needing("pattern"))  # fmt: skip
def attention_plane(
    moment: Moment, head: int, key: str, shown: str = "pattern", layer: int | None = None
) -> list[Heatmap]:
    """What the last position gives to another in a head for each pair (a, b), and its spectrum."""
    n_layers, _, n_heads, *_ = _sizes(moment)["pattern"]
    names = _positions(moment)
    for name, value, options in (("key", key, names), ("shown", shown, list(ACTIVATIONS))):
        if value not in options:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(map(repr, options))}.")
    layer = _whole("layer", n_layers - 1 if layer is None else layer, n_layers)
    head, at = _whole("head", head, n_heads), names.index(key)
    found = _attention(passable(moment.net), moment.params, _pairs(moment), head, at, layer, ACTIVATIONS[shown])
    own: dict[str, Any] = {"colours": "positive", "limit": 1.0} if shown == "pattern" else {}
    what = "Attention" if shown == "pattern" else "Score"
    return _two(f"{what} from {names[-1]} to {key}, head {head}{_of_layer(layer, n_layers)}", found, **own)


# --- logits


def _logit_controls(moment: Moment) -> Controls:
    return {"c": Whole("class c", 0, modulus.known(moment) - 1, 0)}


@view("logit-plane", family="grokking", title="A logit over all inputs", controls=_logit_controls,
      fits=_needing("logits"))  # fmt: skip
def logit_plane(moment: Moment, c: int) -> list[Heatmap]:
    """The logit of a class for each pair (a, b) less its mean over all, and its spectrum."""
    c = _whole("c", c, modulus.known(moment))
    found = _logit(passable(moment.net), moment.params, _pairs(moment), c)
    return _two(f"Logit of class {c} less its mean", found)
