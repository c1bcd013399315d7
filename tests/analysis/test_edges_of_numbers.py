"""Every public array function of toylab.analysis, found by walking its modules, on numbers at the edges: nan stays nan,
half precision is computed in float32, and what is free of scale is so for entries of 1e-25 and 1e25. Arguments are drawn by
their annotations; what these do not say stands in GIVEN. Functions that run a network end in those that do not; any other
that is left out stands in LEFT_OUT, with the reason."""

import inspect
import pkgutil
import re
from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import export

from toylab import analysis
from toylab.analysis.groups import cosets, irreps
from toylab.shapes import shaped
from toylab.shapes.annotations import Arrays, wanted
from toylab.tasks import cayley

SIZES = {"p": 7, "g": 3, "K": 2, "S": 2, "T": 7, "P": 7, "B": 4, "n": 9, "C": 3, "n_classes": 3, "d_vocab": 7, "R": 3}
SIZES |= {"d_vocab_out": 7, "d_model": 6, "d_head": 3, "n_layers": 2, "n_heads": 2, "Q": 7, "_": 7, "d_last": 6, "r": 2}
SIZES |= {"n_neurons": 5, "n_frequencies": 4, "n_samples": 9, "n_checkpoints": 4, "dims": 4, "d_mlp": 5, "W": 4}
DEFAULT = 5
pytestmark = pytest.mark.slow  # each function is compiled a few times
C3 = cayley.table("cyclic", 3)
KEY = np.array([0, 1, 0, 0], bool)
COSETS = cosets.Cosets(np.eye(3, dtype=bool)[:2], np.array([[0, 0, 1], [0, 1, 1]]), np.array([[0, 0, 1], [0, 1, 1]]))
NETWORK = {"apply", "net", "run", "function", "loss", "graph", "metric"}  # parameters of functions that run one

GIVEN = {  # by parameter, or by function and parameter
    "p": 7, "reps": irreps.representations("cyclic", 3), "kind": "K", "period": 3, "detected": "induction",
    "n_elements": 4, "which": "correct", "n_pairs": 4, "burst": 2, "n_labels": 3, "n_positions": 2, "n_features": 5,
    "k": 2, "steps": 2, "queries": [1, 2], "nbeta": 1.0, "gamma": 1.0, "n_classes": 3, "g": 6, "score": "scaled",
    "found": COSETS, "layer": 0, "positions": "abs", "neural_collapse.b": None, "eigenvalue_score.scale": None,
    "first_step.steps": np.arange(5), "grokking_phases.steps": np.arange(7), "learning_phases.steps": np.arange(7),
    "first_below.steps": np.arange(7), "halfway.steps": np.arange(7), "half_risen.steps": np.arange(7),
    "largest_fall.steps": np.arange(7), "bump.steps": np.arange(7), "lost.steps": np.arange(7),
    "recursive_features.M": None, "recursive_features.ridge": 0.1,  # without one, examples of one place have no inverse
    "unseen_loss.x": np.float32(np.eye(5)[:3] + 0.1), "forgetting_steps.rate": np.float64(0.1),
    "steps_near.steps": np.arange(7), "level": 0.5, "width": 0.2, "triples": None, "weight": None,
    "share_at.value": 0.5, "jumps.steps": np.arange(7), "falls.steps": np.arange(7), "plateaus.steps": np.arange(7),
    "where": None, "of": None, "train": None, "mask": None, "n_tokens": None, "labels": np.arange(9) % 3,
    "support": np.ones((4, 3), bool), "living": np.ones(5, bool), "correct": np.array([1, 3, 1, 3]),
    "incorrect": np.array([3, 1, 3, 1]), "clamped": [False, False, True], "tokens": np.arange(28).reshape(4, 7) % 3,
    "frequency": 1, "circles": [0, 1], "sizes": np.array([1, 2]), "concentration.labels": COSETS.left,
    "subcircuits.accuracy.labels": np.arange(4) % 3, "restricted_loss.labels": np.zeros((7, 7), int),
    "excluded_loss.labels": np.zeros((7, 7), int), "inputs_of.p": None, "name": "x",
    "population_loss.W": np.float32([[0.5, 0.1], [0.2, 0.3], [0.4, 0.6]]), "population_loss.b": np.float32([0.1] * 3),
    "explained_exactly.logits": np.float32(np.random.default_rng(0).uniform(size=(49, 7))),
    "population_loss.density": np.float32(0.5), "population_loss.importance": np.float32(0.5),
    "rotated.x": np.float32(np.random.default_rng(0).uniform(size=(7, 4))), "causal": True,
    "expected_collisions.n_neurons": np.float32(4.5), "excluded_loss.train_mask": np.ones((7, 7), bool),
    "hidden_losses.train": np.ones((3, 3), bool), "logit_losses.train": np.ones((3, 3), bool),
    "hidden_losses.key": np.array([False, True]), "logit_losses.key": np.array([False, True]),
    "restricted_loss.key": KEY, "excluded_loss.key": KEY, "fourier.logit_fve.key": KEY,
    "explained.logit_fve.key": np.array([False, True]), "order_learned.key": np.array([False, True]),
    "roc.true": np.eye(2, 3, dtype=bool), "roc.edges": np.ones((2, 3), bool),
    "predicted_accuracy.train": np.ones(28, bool), "table.rows": np.zeros(4, int), "table.columns": np.arange(4),
    "share_near.steps": np.arange(7), "until": 0.8, "line_counts.line": 0.5, "off_identity.m": 2, "off_top.m": 2,
    "farthest.target": 0.5, "set_loss.sets": "correlated", "set_loss.size": 2, "set_loss.density": np.float32(0.5),
    "set_loss.W": np.float32([[0.5, 0.1], [0.2, 0.3], [0.4, 0.6], [0.3, 0.2]]), "set_loss.b": np.float32([0.1] * 4),
    "set_loss.importance": np.float32(0.5), "linear_margin.labels": np.arange(9) % 2, "homogeneous_margin.degree": 2.0,
    "flow_losses.ratio": 0.5, "elapsed.steps": np.arange(7), "elapsed.most": np.float64(4.0),
    "kernel_descent.steps": np.arange(7), "kernel_descent.rate": np.float32(0.5),
    "kept_accuracy.order": np.arange(5),
    "residual_stream.cache": {name: np.float32(np.ones((2, 4, 3, 6))) for name in ("resid_pre", "resid_post")},
    "cache": {"z": np.float32(np.ones((2, 4, 2, 3, 5)))}, "hook": "blocks.0.attn.hook_z", "interchange_accuracy.labels": 1,
    "hooks": {"blocks.0.hook_mlp_out": np.float32(np.ones((4, 3, 6)))}, "tuned_lens.steps": 3,
    "collisions_of_many.n_neurons": np.float32(4.5), "l1_decay.start": 4.0, "l1_decay.rate": 0.5, "allocation.n_hidden": 2,
}  # fmt: skip
SEVERAL = {"*axes": (7, 5), "*inputs": (7, 7)}  # other axes that stand for several are none
LEFT_OUT = {
    "numbers.check_finite": "refuses what is not finite, and returns nothing",
    "modular.analytic.gromov": "makes weights of sizes, on the host",
    "superposition.population.descended": "a descent, whose end depends on the start",
    "superposition.population.pair_minima": "a descent, whose end depends on the start",
    "superposition.dictionary.random_floor": "draws at random",
    "groups.explained.order_learned": "leaves out points that are nan, as after a run's end",
    "superposition.neurons.blocks": "takes masks",
    "superposition.neurons.polysemantic_share": "takes masks",
    "modular.fourier.modulus": "looks at shapes alone",
    "modular.inputs.inputs_of": "looks at shapes alone, once what it is given is finite",
    "attention.paths.path_expansion": "logits by path, as the network's",
    "attention.interventions.inserting": "makes a patch",
    "attention.hooks.hook_names": "looks at names and shapes alone",
    "groups.irreps.check_axis": "looks at shapes alone",
    "modular.measures.first_circles": "looks at shapes alone",
    "modular.measures.most_varying": "picks a quantity",
    "groups.composition.tables": "picks weights",
    "margins.best_margin": "a program, on the host",
    "completion.least_nuclear_norm": "a program, on the host",
    "modular.networks.in_own_dtype": "converts",
    "modular.networks.in_float64": "converts",
    "precision.softmax_collapse": "is about rounding",
    "over_cells.lowest_in_sets": "picks runs; a loss of nan is left out",
    "over_cells.switch": "nan stands for a run that found another kind of solution",
    "over_cells.rarer_share": "nan stands for a run that found another kind of solution",
    "pattern_learning.fit_grokking": "leaves out points that are nan, and of all gives what was free alone as nan",
    "pattern_learning.fit_double_descent": "leaves out points that are nan, and of all gives what was free alone as nan",
    "attention.paths.frozen_pattern": "a part of path_expansion, of its arrays",
    "feature_machines.adding_machine": "calls recursive_features and errors on the host",
}
APART = {  # of which a part does not depend on the argument
    ("superposition.robustness.adversarial_vulnerability", "W"), ("pruning.kept_accuracy", "neurons"),
    ("pruning.kept_accuracy", "W_out"), ("representation.kernels.kernel_descent", "K_test"),
    ("representation.kernels.kernel_descent", "missing_test"), ("feature_machines.recursive_features", "x_test"),
    ("corruption.of_wrong_labels", "logits"),
    ("superposition.robustness.adversarial_vulnerability", "b"),
    ("superposition.robustness.adversarial_vulnerability", "importance"), ("representation.collapse.neural_collapse", "W"),
    ("representation.collapse.neural_collapse", "b"), ("superposition.neurons.rescaled", "W_out"),
    ("attention.subcircuits.rank_one_losses", "lr"), ("transitions.grokking_phases", "sum_of_squares"),
    ("pattern_learning.accuracies", "generality"), ("attention.read_out.logit_direction", "resid"),
    ("superposition.detection.firing_recovery", "truth"), ("superposition.detection.firing_recovery", "dictionary"),
    ("superposition.detection.firing_recovery", "latents"),
}  # fmt: skip
NONE = {"coordinates.ranking": "the rank is d, of coordinates not taken up"}


@shaped
def _probe(x: int) -> None: ...


def public() -> dict[str, object]:
    """By module and name, without those that run a network or take no floats."""
    found = {}
    for module in pkgutil.walk_packages(analysis.__path__, "toylab.analysis."):
        for name, fn in vars(import_module(module.name)).items():
            mine = name[0] != "_" and inspect.isfunction(inspect.unwrap(fn)) and fn.__module__ == module.name
            if mine and any(getattr(layer, "__code__", None) is _probe.__code__ for layer in layers(fn)):
                found[f"{module.name.removeprefix('toylab.analysis.')}.{name}"] = fn
    return {
        name: fn
        for name, fn in found.items()
        if name not in LEFT_OUT and not NETWORK & set(inspect.signature(fn).parameters) and floats(arguments(name, fn))
    }


def layers(fn):
    while fn is not None:
        yield fn
        fn = getattr(fn, "__wrapped__", None)


def arguments(name, fn):
    """An argument for each parameter that needs one, and for each optional array that GIVEN does not leave out."""
    rng, drawn = np.random.default_rng(0), {}
    short = name.split(".")
    for parameter in inspect.signature(fn).parameters.values():
        keys = [".".join([*short, parameter.name]), ".".join([*short[-2:], parameter.name])]
        keys += [f"{short[-1]}.{parameter.name}", parameter.name]
        known = [GIVEN[key] for key in keys if key in GIVEN]
        known = known[:1] if known and (known[0] is not None or parameter.default is not parameter.empty) else []
        want = wanted(parameter.annotation)
        if known or (want is None and parameter.default is not parameter.empty):
            drawn |= {parameter.name: known[0]} if known and known[0] is not None else {}
        elif isinstance(want, Arrays):
            by_name = {key: array(one, rng) for key, one in want.by_name.items()}
            drawn[parameter.name] = by_name or {"a": array(None, rng), "b": array(None, rng)}
        elif want is not None:
            drawn[parameter.name] = array(want, rng)
    return drawn


def array(want, rng):
    if want is None:
        return np.float32(rng.uniform(0.1, 0.9, (3, 4)))
    shape = []
    for axis in want.axes:
        several = SEVERAL.get(axis.text, ()) if axis.several else None
        size = axis.size(SIZES) if callable(axis.size) else axis.size
        shape += several if several is not None else [size or SIZES.get(axis.name or "_", DEFAULT)]
    if want.dtypes is None or "float32" in want.dtypes:
        return np.float32(rng.uniform(0.1, 0.9, shape))
    return rng.uniform(size=shape) < 0.5 if "bool" in want.dtypes else rng.integers(0, 3, shape)


def is_float(x):
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)


def floats(drawn):
    """The names of arguments that hold floats."""
    arrays = {name: x for name, x in drawn.items() if isinstance(x, np.ndarray | np.generic | dict)}
    return [name for name, x in arrays.items() if any(is_float(leaf) for leaf in jax.tree.leaves(x))]


def each_float(fn, x):
    return jax.tree.map(lambda leaf: fn(leaf) if is_float(leaf) else leaf, x)


def called(fn, drawn):
    bound = inspect.signature(fn).bind(**drawn)
    return fn(*bound.args, **bound.kwargs)


def numbers(found):
    """The floats among what a function has returned, as numpy arrays."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(found) if not isinstance(leaf, str)]
    return [leaf for leaf in leaves if leaf.dtype.kind in "fc"]


def on_host(name):
    """Whether it takes arrays of numpy alone, or float64."""
    annotations = [parameter.annotation for parameter in inspect.signature(PUBLIC[name]).parameters.values()]
    return name.endswith("_exactly") or any(getattr(one, "array_type", None) is np.ndarray for one in annotations)


PUBLIC = public()


@pytest.mark.parametrize("name", PUBLIC)
def test_of_nan_nothing_but_nan_is_said(name):
    """Of each argument that is nan every float is nan; what returns none refuses it, and under jit says false or none."""
    fn, drawn = PUBLIC[name], arguments(name, PUBLIC[name])
    called(fn, drawn)
    for argument in floats(drawn):
        broken = drawn | {argument: each_float(lambda x: np.full_like(x, np.nan), drawn[argument])}
        try:
            found = called(fn, broken)
        except ValueError:
            try:
                found = jax.jit(lambda x: called(fn, drawn | {argument: x}))(broken[argument])  # noqa: B023
            except (ValueError, jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
                continue
        said = [leaf for leaf in numbers(found) if leaf.size]
        if (name, argument) in APART:
            assert any(np.isnan(leaf).any() for leaf in said), (argument, said)
        else:
            assert all(np.isnan(leaf).all() for leaf in said), (argument, said)
        if not said and name not in NONE:
            assert all((np.asarray(leaf) <= 0).all() for leaf in jax.tree.leaves(found)), (argument, found)


@pytest.mark.parametrize("name", PUBLIC)
def test_half_precision_is_computed_in_float32(name):
    fn, drawn = PUBLIC[name], arguments(name, PUBLIC[name])
    for dtype in (ml_dtypes.bfloat16, np.float16):
        narrow = drawn | {key: each_float(lambda x: x.astype(dtype), drawn[key]) for key in floats(drawn)}  # noqa: B023
        wide = narrow | {key: each_float(lambda x: x.astype(np.float32), narrow[key]) for key in floats(narrow)}
        found, wanted = called(fn, narrow), called(fn, wide)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_free_of_scale_is_so_at_every_scale(name):
    """What does not change where an argument, or all, are multiplied by 8 or 1/32 does not from 1e-25 to 1e25."""
    fn, drawn = PUBLIC[name], arguments(name, PUBLIC[name])
    plain = numbers(called(fn, drawn))
    for which in [*[[one] for one in floats(drawn)], floats(drawn)]:

        def scaled(power):
            by = np.float32(2.0**power)
            times = {key: each_float(lambda x: x * by, drawn[key]) for key in which}  # noqa: B023
            return numbers(called(fn, drawn | times))

        try:
            near = [*zip(plain, scaled(3), scaled(-5), strict=True)]
        except ValueError:  # a share that may not be above 1
            continue
        near_to = partial(np.allclose, rtol=1e-4, atol=1e-6, equal_nan=True)
        free = [all(near_to(one, other) for other in others) for one, *others in near]
        for power in (-83, 83) if any(free) else ():
            for one, other, is_free in zip(plain, scaled(power), free, strict=True):
                if is_free:
                    np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5, err_msg=f"{which} · 2^{power}")


@pytest.mark.parametrize("name", [name for name in PUBLIC if not on_host(name)])
def test_it_lowers_for_tpu_and_cuda(name):
    """What can be traced has an operation for each of its steps on both, and none of 64 bits, which TPUs compute wrongly
    or not at all; what wants to know its numbers is computed where they are."""
    fn, drawn = PUBLIC[name], arguments(name, PUBLIC[name])
    traced = {key: drawn[key] for key in floats(drawn)}
    try:
        program = export.export(jax.jit(lambda x: called(fn, drawn | x)), platforms=("tpu", "cuda"))(traced)
    except (ValueError, jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        pytest.skip("it wants to know its numbers")
    assert not re.search(r"xf64|complex<f64>", program.mlir_module())
