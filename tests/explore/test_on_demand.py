"""Analyzers computed on demand: values, progress, cancelling, what is kept on disk, and what users get wrong."""

import os
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from sweeps_on_disk import seeds, write_group
from tiny_sweeps import A, B, squares, trained

from toylab.explore import of_arrays, open_folder
from toylab.explore.demand import analyzers
from toylab.explore.demand.computing import Computing
from toylab.explore.demand.kept import Kept
from toylab.explore.demand.on_demand import OnDemand

STEPS = [[0, 1, 2], [5, 10]]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of what is kept."""
    monkeypatch.setenv("TOYLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def held(tmp_path):
    write_group(tmp_path / "runs", seeds(2), STEPS)
    held = open_folder(tmp_path)[""]
    yield held
    held.close()


def written(path, text):
    """A module that was there before this process began."""
    path.write_text(text)
    os.utime(path, (1e9, 1e9))


def double(params, run):
    return {"W": 2 * params["W"], "big": params["W"] > 0.5, "n": jnp.int32(3), "seed": run.config.seed * 1.0}


def done(held, name, **asked):
    request = held.on_demand.ask(name, **asked)
    assert held.on_demand.wait(60)
    return request


def test_chosen_points_are_computed_and_the_others_are_nan(held):
    name = held.on_demand.add(double)
    request = done(held, name, runs=[1], at=[0, 3])
    assert (request.state, request.done, request.total, request.message) == ("done", 2, 2, "")
    assert set(held.measures) == {"loss", "double/W", "double/big", "double/n", "double/seed"}
    found = held.measures["double/W"]
    assert found.shape == (2, 5, 4) and np.isfinite(found).all(axis=-1).tolist() == [
        [False] * 5,
        [True, False, False, True, False],
    ]
    for at in (0, 3):
        np.testing.assert_array_equal(found[1, at], 2 * held.params(1, at)["W"])
        assert held.measures["double/big"][1, at].tolist() == [1.0] * 4 and held.measures["double/n"][1, at] == 3
        assert held.measures["double/seed"][1, at] == 1
    assert (
        np.isnan(held.measures["double/n"][0]).all() and "double/n" in held.scalars and "double/W" not in held.scalars
    )
    assert held.refresh() and not held.refresh()
    done(held, name)
    assert np.isfinite(held.measures["double/W"]).all() and held.refresh()


def test_analyses_of_a_page_are_those_that_the_page_makes(tmp_path):
    """Also where they read results of the last point."""
    sweep = trained(tmp_path / "runs", [A, B])

    def last(params, run):
        return {"W": params["W_U"]}

    def compared(params, run):
        return {"distance": ((params["W_U"] - run.final["last/W"]) ** 2).sum()}

    held = open_folder(tmp_path)[""]
    source = held
    demand = OnDemand(
        source, lambda: (analyzers.of_page(None, {"squares": squares, "compared": compared}), {"last": last})
    )
    assert demand.names == ["squares", "compared"]
    for name in demand.names:
        demand.ask(name)
    assert demand.wait(120) and all(one.state == "done" for one in demand.requests.values()), demand.messages
    n = len(held.steps)
    # a sum of 2 · 11 · 8 squares, in two orders: 176 roundings at most
    total, wanted = demand.found.measure("squares/sum", held.steps, 2), (sweep.params["W_E"] ** 2).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(total, wanted, rtol=176 * np.finfo(np.float32).eps)
    distance = demand.found.measure("compared/distance", held.steps, 2)
    wanted = ((sweep.params["W_U"] - sweep.params["W_U"][:, -1:]) ** 2).sum(axis=(2, 3))
    np.testing.assert_allclose(distance, wanted, rtol=176 * np.finfo(np.float32).eps)
    assert distance.shape == (2, n) and (distance[:, -1] == 0).all()
    held.close()


def test_progress_grows_and_a_request_can_be_cancelled_and_replaced(held):
    gate, reached = threading.Event(), threading.Event()
    own = held.at_step

    def slow(run, step):
        if step == 2:
            reached.set()
            assert gate.wait(30)
        return own(run, step)

    held.on_demand._computing.source.at_step = slow
    name = held.on_demand.add(double)
    first = held.on_demand.ask(name)
    assert reached.wait(60) and first.state == "computes" and first.done == 2 and first.total == 10
    second = held.on_demand.ask(name, runs=[1], at=[4])
    assert first.state == "cancelled" and second.state == "waits"
    gate.set()
    assert held.on_demand.wait(60)
    assert first.state == "cancelled" and first.done == 3 and second.state == "done" and second.done == 1
    assert np.isfinite(held.measures["double/n"]).sum() == 4  # what was computed stays
    third = held.on_demand.ask(name)
    held.on_demand.cancel()
    assert held.on_demand.wait(60) and third.state in ("cancelled", "done")


def test_results_are_kept_on_disk_by_what_they_are_made_of(held, tmp_path, monkeypatch):
    written(tmp_path / "mine_kept.py", "def norms(params, run):\n    return {'W': (params['W'] ** 2).sum()}\n")
    monkeypatch.chdir(tmp_path)
    computed = []
    own = analyzers.point
    monkeypatch.setattr(analyzers, "point", lambda fn, params, run: computed.append(1) or own(fn, params, run))

    def asked(at=None):
        other = open_folder(tmp_path)[""]
        name = other.on_demand.add("mine_kept.py:norms")
        before = len(computed)
        request = done(other, name, at=at)
        assert request.state == "done" and request.done == request.total, request.message
        other.close()
        return len(computed) - before, other.measures["norms/W"]

    assert asked([0, 4])[0] == 4 and asked([0, 4])[0] == 0
    n, whole = asked()
    assert n == 6 and np.isfinite(whole).all()
    np.testing.assert_allclose(whole, 4 * held.measures["loss"] ** 2, rtol=1e-6)  # four equal entries: a few roundings
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 4  # of 2 runs and 2 chunks
    files[0].write_bytes(b"damaged")
    files[1].write_bytes(files[2].read_bytes()[:-30])
    n, again = asked()
    assert 0 < n <= 6 and np.array_equal(again, whole)
    assert asked()[0] == 0
    del sys.modules["mine_kept"]
    written(tmp_path / "mine_kept.py", "def norms(params, run):\n    return {'W': 3 * (params['W'] ** 2).sum()}\n#\n")
    n, other = asked()
    assert n == 10
    np.testing.assert_allclose(other, 3 * whole, rtol=1e-6)
    for folder in (tmp_path / "off", None):
        monkeypatch.setenv("TOYLAB_CACHE", str(folder) if folder else "off")
        assert asked()[0] == 10 and asked()[0] == (0 if folder else 10)
    monkeypatch.delitem(sys.modules, "mine_kept")


def test_code_that_was_written_since_this_process_began_is_not_kept(held, tmp_path, cache):
    (tmp_path / "mine_new.py").write_text("def norms(params, run):\n    return {'W': (params['W'] ** 2).sum()}\n")
    held.on_demand.add(str(tmp_path / "mine_new.py:norms"))
    assert done(held, "norms").state == "done" and not cache.exists()
    del sys.modules["mine_new"]


def test_other_weights_are_computed_anew(tmp_path):
    written(tmp_path / "mine_other.py", "def first(params, run):\n    return {'W': params['W'][0]}\n")
    for start in (0, 5):
        write_group(tmp_path / f"runs{start}", seeds(2, start), STEPS)
        held = open_folder(tmp_path / f"runs{start}")[""]
        held.on_demand.add(str(tmp_path / "mine_other.py:first"))
        assert done(held, "first").state == "done"
        np.testing.assert_array_equal(held.measures["first/W"], held.measures["loss"])
        held.close()
    del sys.modules["mine_other"]


def test_a_folder_that_cannot_be_written_is_told_once(held, tmp_path, monkeypatch):
    written(tmp_path / "mine_told.py", "def one(params, run):\n    return {'W': params['W'][0]}\n")
    (tmp_path / "file").write_text("")
    held.on_demand._kept.folder = tmp_path / "file" / "below"
    held.on_demand.add(str(tmp_path / "mine_told.py:one"))
    assert done(held, "one").state == "done" and np.isfinite(held.measures["one/W"]).all()
    (message,) = held.messages
    assert "what is computed is not kept" in message and "TOYLAB_CACHE" in message
    del sys.modules["mine_told"]


def test_old_results_go_where_there_are_too_many(cache):
    kept = Kept({"TOYLAB_CACHE": str(cache)})
    for number in range(4):
        kept.write(str(number), {0: {"x": np.zeros(1000)}})
        os.utime(kept._path(str(number)), (number, number))
    (cache / "another.npz").write_bytes(bytes(10**6))
    assert kept.read("0")[0]["x"].shape == (1000,)  # used now
    kept.trim(20_000)
    assert sorted(path.name for path in cache.iterdir()) == ["analysis-0.npz", "analysis-3.npz", "another.npz"]
    assert Kept({"TOYLAB_CACHE": "off"}).read("0") == {}


def test_an_analyzer_that_fails_is_told(held):
    def wrong(params, run):
        return {"x": params["W_E"]}

    def worse(params, run):
        return [1]

    def stops(params, run):
        raise ValueError("it wants a net with W_K.")

    for fn, words in {
        wrong: "wrong cannot be computed: KeyError: W_E.",
        worse: "worse cannot be computed: it returns a list, and must return a dict of arrays.",
        stops: "stops cannot be computed: it wants a net with W_K.",
    }.items():
        request = done(held, held.on_demand.add(fn))
        assert request.state == "failed" and request.message == words and words in held.messages
    assert set(held.measures) == {"loss"}
    request = done(held, held.on_demand.add(double))
    assert request.state == "done"


def test_points_whose_chunk_is_damaged_are_left_out(held, tmp_path):
    (group,) = (tmp_path / "runs").glob("0*")
    for path in (group / "10" / "traj").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    request = done(held, held.on_demand.add(double))
    assert (
        request.state == "done"
        and request.done == 6
        and "lacks 4 of 10 points: the chunk at step 10" in request.message
    )
    assert np.isfinite(held.measures["double/n"]).sum() == 6


def test_points_whose_params_are_not_finite_have_no_values():
    held = of_arrays({"W": np.array([[1.0], [np.nan]])}, [0, 1], data={})
    done(held, held.on_demand.add(lambda params, run: {"n": jnp.int32(3)}, "three"))
    assert held.measures["three/n"].tolist()[0][0] == 3 and np.isnan(held.measures["three/n"][0, 1])


def test_what_was_computed_with_an_earlier_last_point_goes(tmp_path):
    class Source:
        runs, steps, valid = ["a"], np.arange(3), np.array([[True, True, False]])

        def at_step(self, run, step):
            return {"W": np.full(2, float(step), np.float32)}

        def config(self, run):
            return A

        def data(self, run):
            return {}

        def identity(self, run, step):
            return f"{run}/{step}", 0

    source = Source()
    computing = Computing(source, Kept({"TOYLAB_CACHE": "off"}))
    computing.last = {"end": lambda params, run: {"W": params["W"]}}
    demand = OnDemand(source, lambda: ({}, {}), Kept({"TOYLAB_CACHE": "off"}))
    demand._analyzers()
    demand._computing, demand._known = computing, {}
    demand.add(lambda params, run: {"d": (run.final["end/W"] - params["W"])[0]}, "apart")
    demand.add(lambda params, run: {"W": params["W"][0]}, "plain")
    for name in ("apart", "plain"):
        demand.ask(name)
    assert demand.wait(60) and demand.found.measure("apart/d", source.steps, 1)[0, :2].tolist() == [1, 0]
    source.valid = np.array([[True, True, True]])
    for name in ("apart", "plain"):
        demand.ask(name, at=[2])
    assert demand.wait(60)
    assert np.array_equal(demand.found.measure("apart/d", source.steps, 1), [[np.nan, np.nan, 0]], equal_nan=True)
    assert demand.found.measure("plain/W", source.steps, 1).tolist() == [[0, 1, 2]]


def test_requests_that_cannot_be_met_are_refused(held):
    name = held.on_demand.add(double)
    with pytest.raises(ValueError, match=r"analyzer is 'duoble': did you mean double\?"):
        held.on_demand.ask("duoble")
    with pytest.raises(ValueError, match="runs has 2: the numbers go from 0 to 1"):
        held.on_demand.ask(name, runs=[2])
    with pytest.raises(ValueError, match="at has -1: the numbers go from 0 to 4"):
        held.on_demand.ask(name, at=[-1])
    with pytest.raises(ValueError, match="none of the runs has a point"):
        held.on_demand.ask(name, at=[])


def test_analyzers_that_are_none_are_refused(held, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_bad.py").write_text("def one(params):\n    return {}\nnumber = 3\n")
    (tmp_path / "raises_bad.py").write_text("1 / 0")
    for text, words in {
        "norms": "give module:function",
        ":norms": "give module:function",
        "mine_bad:": "give module:function",
        "absent.py:norms": "there is no file absent.py",
        "absent_module:norms": "there is no module absent_module",
        "absent.module:norms": "there is no module absent.module",
        "mine_bad.py:oen": "has no oen; did you mean one?",
        "mine_bad:number": "it is a int, and must be a function",
        "mine_bad:one": "it must take (params, run), and takes (params)",
        "raises_bad.py:norms": "raised while it was imported (ZeroDivisionError: division by zero)",
        ".:norms": "give module:function",
    }.items():
        with pytest.raises(ValueError) as error:
            held.on_demand.add(text)
        message = str(error.value)
        assert words in message and message.startswith("analyzer is ") and text in message and "\n" not in message
    assert held.on_demand.names == []
    sys.modules.pop("mine_bad", None)


def test_an_analyzer_of_toylab_by_its_name(held):
    assert held.on_demand.add("toylab.analysis.norms:weights") == "weights"
    assert done(held, "weights").state == "done"
    assert held.measures["weights/sum_of_squares/total"].shape == (2, 5)
