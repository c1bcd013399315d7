"""Checks of a config's parts before anything is trained: one sentence for each way to be wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx, struct

from toylab import configs as cfg
from toylab.base import Config, static
from toylab.models import ModularMLP, Net, ToyModel, Transformer
from toylab.optim import SGD, AdamW
from toylab.tasks import ModularArithmetic, Program, RepeatedBlocks

TASK = ModularArithmetic(p=7, n_train=20)
NET = Net.of(Transformer, d_vocab=8, d_vocab_out=8, n_ctx=3, d_model=8, n_heads=2, d_mlp=8)


class Line(nnx.Module):
    """x [B, 3] → [B]."""

    def __init__(self, *, n: int = 3, scale: float = 1.0, rngs: nnx.Rngs) -> None:
        self.w = nnx.Param(scale * jnp.ones(n))

    def __call__(self, x, patch=None, full=True):
        return x @ self.w[...], {}


class WithoutCache(Line):
    def __call__(self, x, patch=None, full=True):
        return x @ self.w[...]


class TwoOutputs(Line):
    def __call__(self, x, patch=None, full=True):
        return x @ self.w[...], x


class WithoutPatch(Line):
    def __call__(self, x):
        return x @ self.w[...], {}


class Normalised(Line):
    def __init__(self, *, n: int = 3, rngs: nnx.Rngs) -> None:
        self.w, self.norm = nnx.Param(jnp.ones(n)), nnx.BatchNorm(n, rngs=rngs)


class Dropped(Line):
    def __init__(self, *, n: int = 3, rngs: nnx.Rngs) -> None:
        self.w, self.drop = nnx.Param(jnp.ones(n)), nnx.Dropout(0.5, rngs=rngs)


class Bare(Line):
    def __init__(self, *, n=3, rngs: nnx.Rngs) -> None:
        self.w = nnx.Param(jnp.ones(n))


class Loose(Line):
    def __init__(self, *, rngs: nnx.Rngs, **sizes: int) -> None:
        self.w = nnx.Param(jnp.ones(sizes["n"]))


class Listed(Line):
    def __init__(self, *, widths: Any = (3,), rngs: nnx.Rngs) -> None:
        self.w = nnx.Param(jnp.ones(widths[0]))


class Two(struct.PyTreeNode):
    """The mean over two examples: a net without a cache would be trained on the first alone."""

    n: int = static(default=3)

    def check(self):
        return self

    def data(self, key):
        return jnp.ones((2, self.n))

    def loss(self, apply, params, data, key):
        return jnp.mean((apply(params, data)[0] - 1) ** 2)

    def measure(self, apply, params, data):
        return {"loss": self.loss(apply, params, data, None)}


class Unchecked(struct.PyTreeNode):
    data, loss, measure = Two.data, Two.loss, Two.measure
    n: int = static(default=3)


class Undeclared(Two):
    width = 5


class Vector(Two):
    def loss(self, apply, params, data, key):
        return (apply(params, data)[0] - 1) ** 2


class Silent(Two):
    def measure(self, apply, params, data):
        return self.loss(apply, params, data, None)


class Unstatic(Two):
    n: int = 3


class Endless(Two):
    epoch_steps: int = static(default=-1)


class Unordered(Two):
    epoch_steps: int = static(default=4)


class Raw(struct.PyTreeNode):
    lr: float = 0.1

    def check(self):
        return self

    def transform(self):
        return self.lr


def config(task=None, net=None, optimizer=None):
    return Config(task=task or Two(), net=net or Net.of(Line), optimizer=optimizer or SGD())


def test_what_meets_the_protocols_passes():
    for one in (config(), Config(task=TASK, net=NET, optimizer=AdamW())):
        assert cfg.check(cfg.check(one)) is not None


@pytest.mark.parametrize(("part", "message"), [
    ({"optimizer": optax.adam(1e-3)}, r"optimizer is a GradientTransformationExtraArgs: it must be AdamW\(…\) or another"),
    ({"optimizer": AdamW}, r"optimizer is the class AdamW: it must be AdamW\(…\)"),
    ({"optimizer": Raw()}, r"optimizer\.transform\(\) gives no optax transform"),
    ({"task": Two}, r"task is the class Two: it must be one of toylab\.tasks"),
    ({"task": jnp.mean}, r"task is a function|task is a .*: it must be one of toylab\.tasks"),
    ({"task": Unchecked()}, r"task Unchecked has no check: it must be"),
    ({"task": Undeclared()}, r"task\.width has no annotation, and so is no field of Undeclared: write width: int = …"),
    ({"task": Vector()}, r"the loss of net Line and task Vector has shape \(2,\) and dtype float32: .* one float"),
    ({"task": Silent()}, r"task\.measure gives a .*: it must give scalars by name"),
    ({"task": Endless()}, r"task\.epoch_steps is -1: it must be a static whole number, 0 where there are no epochs\.$"),
    ({"task": Unordered()}, r"task Unordered has epoch_steps and no epoch_order: it must have epoch_order\("),
    ({"task": Unstatic()}, r"net Line and task Unstatic do not fit: "),
    ({"net": Line(rngs=nnx.Rngs(0))}, r"net is a Line: it must be Net\.of\(Module, …\)"),
    ({"net": Transformer}, r"net is the class Transformer: it must be Net\.of"),
    ({"net": Net.of(WithoutCache)}, r"net WithoutCache and task Two do not fit: ValueError, WithoutCache returned a .*"),
    ({"net": Net.of(TwoOutputs)}, r"net TwoOutputs .* returned .*: it must be \(output, cache\)"),
    ({"net": Net.of(WithoutPatch)}, r"net WithoutPatch and task Two do not fit: TypeError, .*full"),
    ({"net": Net.of(Normalised)}, r"net\.module Normalised holds norm\..*, a Batch.*: a net is a function"),
    ({"net": Net.of(Dropped)}, r"net\.module Dropped draws from other rngs than params, as Dropout does"),
    ({"net": Net.of(Listed, widths={3})}, r"net\.widths is a set: it is static, so a tuple"),
    ({"net": Net.of(Line, n=4)}, r"net Line and task Two do not fit: TypeError, "),
    ({"net": Net.of(ToyModel, n_features=4, n_hidden=2)}, r"net ToyModel and task Two do not fit: ValueError, x has shape"),
    ({"task": TASK}, r"net Line does not fit task ModularArithmetic: Net has no field d_vocab"),
    ({"task": RepeatedBlocks(d_vocab=7, n_ctx=8, min_period=2, max_period=4), "net": Net.of(ModularMLP, d_vocab=7,
      d_vocab_out=7)}, r"net ModularMLP does not fit task RepeatedBlocks: .* no field n_ctx"),
    ({"task": Program("hist", d_vocab=9, n_ctx=3), "net": NET}, r"net\.d_vocab is 8: hist needs at least 9"),
    ({"task": Program("hist", d_vocab=4, n_ctx=3), "net": NET}, r"net\.readout is 'last'"),
])  # fmt: skip
def test_every_way_not_to_be_one_has_its_sentence(part, message):
    with pytest.raises(ValueError, match=rf"^({message})") as error:
        cfg.check(config(**part))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("module", "message"), [
    (Bare, r"^net\.n has no annotation in Bare: write n: float where a sweep may vary it, else its type\.$"),
    (Loose, r"^net\.module Loose takes \*\*sizes: int: it must name its fields, each by keyword\.$"),
    (Two, r"^net\.module is Two: it must be an nnx\.Module\.$"),
])  # fmt: skip
def test_fields_of_a_module_are_read_or_refused(module, message):
    with pytest.raises(ValueError, match=message):
        Net.of(module)


@pytest.mark.parametrize("module", [WithoutCache, TwoOutputs])
def test_a_net_without_a_cache_is_refused_at_every_call(module):
    net = Net.of(module)
    with pytest.raises(ValueError, match=rf"^{module.__name__} returned .*: it must be \(output, cache\)"):
        net.apply(net.init(jax.random.key(0)), jnp.ones((2, 3)))
