"""Plots take a Sweep or Measures and names, and draw what they draw of arrays."""

import inspect
import pkgutil
import typing
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from toylab import Config, Net, Spec, load, plots, run
from toylab.lab.page import Measures
from toylab.models import ToyModel
from toylab.optim import AdamW
from toylab.plots import cells, fields, style
from toylab.plots.attention.stages import Panel, losses_with_limits, stages
from toylab.plots.curves import learning
from toylab.tasks import SparseFeatures


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    task, net = SparseFeatures(n_features=3, batch=8, n_eval=8), Net.of(ToyModel, n_features=3, n_hidden=2)
    configs = [Config(task, net, AdamW(lr=lr, warmup=0), seed=seed) for lr in (0.01, 0.1) for seed in range(2)]
    run(configs, Spec(saves=[0, 2, 5]), folder, report=None)
    return load(folder)


def measures_of(sweep):
    config = {f"config/{name}": column for name, column in sweep.columns.items()}
    return Measures({"steps": sweep.steps, "valid": sweep.valid, **config, **sweep.measures})


def picture(figure):
    return np.asarray(style._picture(figure, 40))


def test_a_sweep_and_names_are_drawn_as_their_arrays(sweep):
    loss = sweep.measures["loss"]
    wanted = picture(stages(sweep.steps, [Panel("loss", {"a": loss, "b": 2 * loss}, log=True)]))
    named = [Panel("loss", {"a": "loss", "b": 2 * loss}, log=True)]
    for source in (sweep, measures_of(sweep), {"steps": sweep.steps, "loss": loss}):
        np.testing.assert_array_equal(picture(stages(source, named)), wanted)
    wanted = picture(losses_with_limits(sweep.steps, {"a": loss}, {"limit": 0.1}))
    np.testing.assert_array_equal(
        picture(losses_with_limits(sweep, curves={"a": "loss"}, limits={"limit": 0.1})), wanted
    )


def test_results_of_analyze_join_the_measures(sweep):
    found = sweep.analyze(lambda params, run: {"norm": (params["W"] ** 2).sum()})
    both = {"steps": sweep.steps, **sweep.measures, **found}
    wanted = picture(losses_with_limits(sweep.steps, {"norm": found["norm"]}, {}))
    np.testing.assert_array_equal(picture(losses_with_limits(both, {"norm": "norm"}, {})), wanted)


def filling(hint, values):
    """Names for the arrays of a type, and other values for what else it has; `values`: name → array."""
    name = f"m{len(values)}"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is np.ndarray or (np.ndarray in inner and origin is not tuple and len(inner) == 2 and type(None) in inner):
        values[name] = np.full((2, 3), float(len(values)))
        return name
    if len(inner) == 2 and isinstance(origin, type) and issubclass(origin, typing.Mapping):
        return {key: filling(inner[1], values) for key in ("x", "y")}
    if origin is tuple and Ellipsis not in inner:
        return tuple(filling(one, values) for one in inner)
    if isinstance(origin, type) and issubclass(origin, typing.Sequence) and inner:
        return [filling(inner[0], values), filling(inner[0], values)]
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return hint(*(filling(one, values) for one in typing.get_type_hints(hint).values()))
    return "loss" if hint is str else 1.5


def names_in(value):
    """Where names of `filling` stand in what a function was called with."""
    if isinstance(value, typing.Mapping):
        return [found for one in value.values() for found in names_in(one)]
    if isinstance(value, list | tuple):
        return [found for one in value for found in names_in(one)]
    return [value] if isinstance(value, str) and value[0] == "m" else []


def drawings():
    """The drawing functions whose steps are an array."""
    for module in pkgutil.walk_packages(plots.__path__, "toylab.plots."):
        for name, function in vars(import_module(module.name)).items():
            own = hasattr(function, "__wrapped__") and function.__module__ == module.name
            if own and typing.get_type_hints(function).get("steps") is np.ndarray:
                yield pytest.param(function.__wrapped__, id=f"{module.name[14:]}.{name}")


@pytest.mark.parametrize("draw", drawings())
@pytest.mark.parametrize("kind", ["sweep", "measures"])
def test_every_array_of_a_drawing_may_be_a_name(draw, kind):
    values: dict = {}
    hints = typing.get_type_hints(draw)
    given = {name: filling(hints[name], values) for name in inspect.signature(draw).parameters if name != "steps"}
    assert values and sorted(names_in(given)) == sorted(values)
    steps = np.arange(3)
    sources = {"sweep": SimpleNamespace(steps=steps, valid=None, measures=values, probes={}, columns={})}
    sources["measures"] = {"steps": steps, **values}
    called: dict = {}

    def spy(*args, **kwargs):
        called.update(inspect.signature(draw).bind(*args, **kwargs).arguments)

    spy.__signature__, spy.__annotations__ = inspect.signature(draw), draw.__annotations__
    fields.drawn(spy, (), {"steps": sources[kind], **given})
    assert called["steps"] is steps and not names_in(called)


def test_there_are_such_drawings():
    assert len(list(drawings())) > 15


def test_columns_of_a_sweep_are_cells(sweep):
    loss = sweep.measures["loss"][:, -1].reshape(2, 2)
    for source in (sweep, measures_of(sweep)):
        found = cells.of_columns(source, "seed", "optimizer.lr", "loss")
        assert found.x.tolist() == [0, 1] and found.y.astype(np.float32).tolist() == [np.float32(0.01), np.float32(0.1)]
        np.testing.assert_array_equal(found.values[:, :, 0], loss)


def test_the_last_point_of_a_run_is_its_own():
    """Runs of two groups may have points at different steps."""
    values = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]])
    measures = {"a": np.arange(2), "b": np.zeros(2), "loss": values, "valid": np.isfinite(values)}
    assert cells.of_columns(measures, "a", "b", "loss").values[0, :, 0].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda sweep: losses_with_limits(sweep, {"a": "los"}, {}), r"curves\['a'\] is 'los'.*did you mean loss"),
        (
            lambda sweep: losses_with_limits(sweep, {"a": "zzz"}, {}),
            "is neither a measure nor a column: there are loss",
        ),
        (lambda sweep: stages(sweep, [Panel("", {"a": "los"})]), r"curves\['a'\] is 'los'"),
        (lambda sweep: losses_with_limits(sweep.steps, {"a": "loss"}, {}), "a name needs a Sweep or Measures as steps"),
        (lambda sweep: learning(sweep.steps, *["loss"] * 4, np.zeros((4, 3))), "train_loss is 'loss': a name needs"),
        (lambda sweep: losses_with_limits({"loss": 1}, {"a": "loss"}, {}), "a name needs a Sweep or Measures as steps"),
        (lambda sweep: cells.of_columns(sweep, "sed", "optimizer.lr", "loss"), "x is 'sed'.*did you mean seed"),
    ],
)
def test_a_name_that_is_not_there_is_one_sentence(sweep, draw, said):
    with pytest.raises(ValueError, match=said):
        draw(sweep)


def test_a_wrong_call_is_told_by_the_function_itself():
    with pytest.raises(TypeError, match="unexpected keyword"):
        losses_with_limits(np.arange(2), {}, {}, nonsense=1)
