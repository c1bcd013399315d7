"""Pieces around an optimizer against loops in numpy float64 and torch, and a Chain through config, sweep and manifest."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rounding import same_training
from steps_of import params_after
from tiny_sweeps import bits, only

from toylab import configs as cfg
from toylab import store, sweep, train
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import (
    LAMB,
    SGD,
    AdamW,
    Chain,
    Clip,
    KeepNorm,
    Orthogonal,
    Penalty,
    Piece,
    RowPull,
    Scale,
    SignedDecayAdamW,
    SlowGradients,
    VectorDecay,
)  # fmt: skip
from toylab.records import config_of
from toylab.sweep import Interrupted, Plan, Spec, describe, grid, lanes
from toylab.tasks import ModularArithmetic

STEPS = 100
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
rng = np.random.default_rng(0)
START = {name: rng.normal(size=s).astype(np.float32) for name, s in {"W": (4, 3), "V": (5, 2), "b": (3,)}.items()}
GRADIENTS = {name: rng.normal(size=(STEPS, *w.shape)).astype(np.float32) for name, w in START.items()}


def path(optimizer, gradients=GRADIENTS, start=START):
    return params_after(optimizer, gradients, start)


def reference(before=None, after=None, decay=0.1, undecayed=(), lr=0.03, b1=0.9, b2=0.98):
    """AdamW in numpy, with a function of (g, w, memory) before it and one of (w, new) after it, all dicts of arrays."""
    w = {name: np.float64(value) for name, value in START.items()}
    m, v, memory = dict.fromkeys(w, 0.0), dict.fromkeys(w, 0.0), {}
    found = {name: [] for name in w}
    for i in range(STEPS):
        g = {name: np.float64(gradient[i]) for name, gradient in GRADIENTS.items()}
        g = before(g, w, memory) if before else g
        new = {}
        for name in w:
            m[name] = b1 * m[name] + (1 - b1) * g[name]
            v[name] = b2 * v[name] + (1 - b2) * g[name] ** 2
            mhat, vhat = m[name] / (1 - b1 ** (i + 1)), v[name] / (1 - b2 ** (i + 1))
            new[name] = w[name] - lr * (mhat / (np.sqrt(vhat) + 1e-8) + (name not in undecayed) * decay * w[name])
        w = after(w, new) if after else new
        for name in w:
            found[name].append(w[name])
    return {name: np.stack(values) for name, values in found.items()}


def orthogonal(g, w, memory):
    across = {name: g[name] - (w[name] * g[name]).sum() / ((w[name] ** 2).sum() + 1e-30) * w[name] for name in g}
    return {name: a * np.linalg.norm(g[name]) / (np.linalg.norm(a) + 1e-30) for name, a in across.items()}


def slow(g, w, memory):
    for name in g:
        memory[name] = 0.9 * memory.get(name, g[name]) + 0.1 * g[name]
    return {name: g[name] + 3 * memory[name] for name in g}


def clipped(g, w, memory):
    length = length_of(g)
    return {name: value * min(1, 4 / length) for name, value in g.items()}


def penalised(g, w, memory):
    return {name: g[name] - 2 * 0.05 * w[name] for name in g}


def length_of(arrays):
    return np.sqrt(sum((value**2).sum() for value in arrays.values()))


N = length_of(jax.tree.map(np.float64, START))


def kept(w, new):
    return {name: value * N / length_of(new) for name, value in new.items()}


def each_kept(w, new):
    return {n: value * np.linalg.norm(np.float64(START[n])) / np.linalg.norm(value) for n, value in new.items()}


def scaled(w, new):
    return {name: w[name] + (0.3 if name in ("W", "b") else 1) * (new[name] - w[name]) for name in w}


BASE = AdamW(lr=0.03, weight_decay=0.1, warmup=0)
PIECES = {
    "orthogonal": (Chain(BASE, before=(Orthogonal(),)), orthogonal, None),
    "slow": (Chain(BASE, before=(SlowGradients(decay=0.9, gain=3.0),)), slow, None),
    "clip": (Chain(BASE, before=(Clip(4.0),)), clipped, None),
    "penalty": (Chain(BASE, before=(Penalty(-0.05),)), penalised, None),
    "keep all": (Chain(BASE, after=(KeepNorm(),)), None, kept),
    "keep each": (Chain(BASE, after=(KeepNorm(of="each"),)), None, each_kept),
    "scale": (Chain(BASE, after=(Scale(("W", "b"), 0.3),)), None, scaled),
    "none": (Chain(BASE), None, None),
    "several": (
        Chain(BASE, (Orthogonal(), SlowGradients(0.9, 3.0)), (Scale(("W", "b"), 0.3), KeepNorm())),
        lambda g, w, memory: slow(orthogonal(g, w, memory), w, memory),
        lambda w, new: kept(w, scaled(w, new)),
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_follows_its_formula_for_a_hundred_steps(name):
    chain, before, after = PIECES[name]
    found, expected = path(chain.check()), reference(before, after)
    for array in START:
        np.testing.assert_allclose(found[array], expected[array], **CLOSE)


@pytest.mark.parametrize("name", ["orthogonal", "slow", "clip"])
def test_a_change_of_the_gradient_is_that_of_released_code_in_torch(name):
    """With torch.optim.AdamW; the bodies are those of orthograd.py (Prieto et al.) and grokfast.py (Lee et al.)."""
    torch = pytest.importorskip("torch")
    params = {key: torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for key, value in START.items()}
    adamw = torch.optim.AdamW(params.values(), lr=0.03, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1)
    means = {}
    for i in range(STEPS):
        for key, p in params.items():
            p.grad = torch.tensor(GRADIENTS[key][i], dtype=torch.float64)
            if name == "orthogonal":
                w, g = p.data.view(-1), p.grad.view(-1)
                g_orth = g - torch.dot(w, g) / (torch.dot(w, w) + 1e-30) * w
                p.grad.copy_((g_orth * (g.norm(2) / (g_orth.norm(2) + 1e-30))).view_as(p.grad))
            if name == "slow":
                means[key] = means.get(key, p.grad) * 0.9 + p.grad * (1 - 0.9)
                p.grad = p.grad + means[key] * 3.0
        if name == "clip":
            torch.nn.utils.clip_grad_norm_(params.values(), 4.0)
        adamw.step()
    found = path(PIECES[name][0])
    for key, p in params.items():
        np.testing.assert_allclose(found[key][-1], p.detach().numpy(), **CLOSE)


def test_params_that_do_not_decay_are_named():
    found = path(AdamW(lr=0.03, weight_decay=0.1, warmup=0, undecayed=("b", "V")).check())
    expected = reference(undecayed=("b", "V"))
    for name in START:
        np.testing.assert_allclose(found[name], expected[name], **CLOSE)


def test_edges_of_the_orthogonal_gradient():
    """One element has no other direction, a w of 0 takes nothing away, tiny gradients keep their direction."""
    w = {"one": jnp.float32([[2.0]]), "zero": jnp.zeros(3), "w": jnp.float32([1, 1, 0])}
    g = {"one": jnp.float32([[3.0]]), "zero": jnp.float32([1, 2, 3]), "w": jnp.float32([2e-30, 0, 0])}
    update = jax.jit(lambda g, w: Orthogonal().transform().update(g, optax.EmptyState(), w)[0])
    found = update(g, w)
    np.testing.assert_array_equal(found["one"], 0)
    np.testing.assert_allclose(found["zero"], [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(found["w"] * 1e30, np.float32([2, -2, 0]) / np.sqrt(2), rtol=1e-5)
    for value in update(jax.tree.map(lambda x: x * jnp.nan, g), w).values():
        assert np.isnan(value).all()


def test_a_kept_norm_is_kept_to_rounding_in_a_batch_and_nan_stays_nan():
    chain = Chain(SGD(lr=np.float32([0.01, 0.3, 3.0])), after=(KeepNorm(),))
    found = jax.vmap(path, in_axes=(chain.replace(base=chain.base.replace(lr=0, weight_decay=None)), None, None))(
        chain, GRADIENTS, START
    )
    length = np.sqrt(sum((np.float64(value) ** 2).reshape(3, STEPS, -1).sum(-1) for value in found.values()))
    np.testing.assert_allclose(length, N, rtol=1e-6)
    assert not np.allclose(found["W"][0, -1], found["W"][1, -1])
    lost = path(Chain(SGD(), after=(KeepNorm(),)), jax.tree.map(lambda g: g * jnp.nan, GRADIENTS))
    assert np.isnan(lost["b"]).all()


def test_a_step_to_0_is_not_made_where_the_norm_is_kept():
    to_zero = jax.tree.map(lambda w: np.stack([w] * STEPS), START)
    for of in ("all", "each"):
        found = path(Chain(SGD(lr=1.0), after=(KeepNorm(of=of),)), to_zero)
        for name, w in START.items():
            np.testing.assert_allclose(found[name], np.broadcast_to(w, found[name].shape), rtol=1e-6)


def test_a_factor_of_0_freezes_to_the_bit():
    found = path(Chain(BASE, after=(Scale(("V",), 0.0),)))
    free = path(Chain(BASE))
    np.testing.assert_array_equal(found["V"], np.broadcast_to(START["V"], found["V"].shape))
    np.testing.assert_array_equal(found["W"], free["W"])


# --- in a config


NET = Net.of(ModularMLP, d_vocab=7, d_vocab_out=7, d_model=4, d_mlp=8)
TASK = ModularArithmetic(p=7, n_train=20)
NAMES = tuple(jax.eval_shape(NET.init, jax.random.key(0)))
CHAIN = Chain(
    AdamW(lr=1e-2, weight_decay=0.5, undecayed=(NAMES[0],)),
    before=(Orthogonal(), SlowGradients(), Clip(5.0)),
    after=(Scale(NAMES[:1], 0.5), KeepNorm()),
)


def config(optimizer=CHAIN, **changes):
    return Config(TASK, NET, optimizer, **changes)


def test_leaves_are_the_fields_of_floats():
    assert jax.tree.leaves(CHAIN) == [1e-2, 0.5, 0.98, 2.0, 5.0, 0.5]
    checked = cfg.check(config())
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(checked.optimizer))
    assert cfg.check(checked) == checked


def test_a_grid_over_nested_leaves_is_one_family():
    fields = {
        "optimizer.base.weight_decay": [0.1, 1],
        "optimizer.after.0.factor": "0,0.5,1",
        "optimizer.before.1.gain": [2],
    }
    configs = grid(config(), fields)
    assert [float(c.optimizer.after[0].factor) for c in configs] == [0, 0.5, 1] * 2
    assert [float(c.optimizer.base.weight_decay) for c in configs] == pytest.approx([0.1] * 3 + [1] * 3)
    assert len(sweep.groups(configs)) == 1 and len({sweep.run_name(c) for c in configs}) == 6
    columns = cfg.columns([cfg.canonical(c) for c in configs])
    np.testing.assert_array_equal(columns["optimizer.after.0.factor"], [0, 0.5, 1] * 2)
    assert set(columns["optimizer.before.0.type"]) == {"toylab.optim.pieces.Orthogonal"}
    assert len(sweep.groups(configs + grid(config(CHAIN.replace(after=())), {"seed": [0]}))) == 2


def test_fields_are_set_by_path_from_texts():
    found = cfg.override(config(), "optimizer.after.0.factor", "0.25")
    assert found.optimizer.after[0].factor == 0.25 and found.optimizer.after[1:] == CHAIN.after[1:]
    assert cfg.override(config(), "optimizer.after.1.of", "each").optimizer.after[1].of == "each"
    assert cfg.override(config(), "optimizer.base.lr", "1e-4").optimizer.base.lr == 1e-4
    before, after = (cfg.canonical(cfg.check(c)) for c in (config(), found))
    assert cfg.differences(before, after) == ["optimizer.after.0.factor: 0.5 → 0.25"]


def test_fields_are_set_by_path_from_a_command_line_and_a_file(tmp_path):
    block = describe.from_texts(["optimizer.after.0.factor=0,1", "optimizer.base.lr=1e-3:1e-2:log2"], [], 2)
    told = describe.Description(block=block).configs([config()])
    (tmp_path / "sweep.toml").write_text(
        "seeds = 2\n[set]\noptimizer.after.0.factor = [0, 1]\noptimizer.base.lr = [1e-3, 1e-2]"
    )
    assert told == describe.from_file(tmp_path / "sweep.toml").configs([config()])
    assert len(told) == 8 and len(sweep.groups(told)) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("optimizer.after.2.factor", r"is no field: optimizer\.after has the parts 0, 1\."),
        ("optimizer.after.0.facto", r"is no field: did you mean optimizer\.after\.0\.factor\?"),
        ("optimizer.after", r"is no single value: set one of its parts, optimizer\.after\.0, optimizer\.after\.1\."),
        ("optimizer.after.0.names", r"cannot be set from the command line"),
        ("optimizer.lr", r"is no field: did you mean optimizer\."),
    ],
)
def test_paths_that_lead_nowhere_are_refused(path, message):
    with pytest.raises(ValueError, match=rf"^{path} {message}"):
        cfg.override(config(), path, "1")
    with pytest.raises(ValueError, match=r"^optimizer\.after\.0\.factor is no field: after has no parts\.$"):
        cfg.override(config(Chain(AdamW())), "optimizer.after.0.factor", "1")


@pytest.mark.parametrize("optimizer", [CHAIN, Chain(SGD()), Chain(Chain(AdamW(), after=(KeepNorm("each"),)))])
def test_a_chain_comes_back_from_its_manifest(optimizer):
    checked = cfg.check(config(optimizer))
    written = json.loads(json.dumps(cfg.canonical(checked)))
    assert config_of(written) == checked
    assert cfg.family(config_of(written)) == cfg.family(checked)


def test_configs_without_the_later_field_stay_as_they_were():
    """The digest is that of toylab 0.1, before AdamW had `undecayed`."""
    written = cfg.canonical(cfg.check(config(AdamW())))
    assert written["optimizer"] == {
        "type": "toylab.optim.AdamW", "lr": 0.001, "weight_decay": 1.0, "b1": 0.9, "b2": 0.98, "eps": 1e-8, "clip": 0.0,
        "warmup": 10, "schedule": "constant", "steps": 0, "floor": 0.0,
    }  # fmt: skip
    assert cfg.digest(cfg.check(config(AdamW()))) == "278874c8056c3f4330813e8419261a80a78635ad01c33e5765fe57ce9cfc572f"
    assert config_of(written).optimizer.undecayed == ()
    assert cfg.canonical(cfg.check(config(AdamW(undecayed=("W_E",)))))["optimizer"]["undecayed"] == ["W_E"]


# --- in a sweep


SAVES = (0, 2, 5, 10, 15, 20)
RUNS = grid(config(), {"optimizer.after.0.factor": [0, 0.5, 1], "optimizer.base.lr": [1e-3, 1e-2]})
PLAN = Plan(lane=4, segment=2, chunk=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Six runs in lanes of four, and the number of programs that it took."""
    folder = tmp_path_factory.mktemp("chain")
    program = lanes.compiled(PLAN.lane, (), None, 1)
    before = program._cache_size()
    sweep.run(RUNS, Spec(saves=SAVES), folder, plan=PLAN)
    return only(folder), program._cache_size() - before


def test_a_grid_over_nested_leaves_is_one_program(trained):
    group, programs = trained
    assert programs == 1 and len(group.runs) == 6


def test_what_the_sweep_recorded_keeps_norms_and_freezes(trained):
    group, _ = trained
    length = np.sqrt(
        sum((np.float64(value) ** 2).reshape(6, len(SAVES), -1).sum(-1) for value in group.params.values())
    )
    np.testing.assert_allclose(length, length[:, :1] * np.ones(len(SAVES)), rtol=1e-6)
    moved = [np.abs(value[:, -1] - value[:, 0]).reshape(6, -1).max(1) for value in group.params.values()]
    assert (np.array(moved[1:]) > 0).all()


def test_a_named_param_at_factor_0_stays_in_a_sweep(tmp_path):
    frozen = Chain(AdamW(), after=(Scale(NAMES[:1], 0.0),))
    sweep.run([cfg.check(config(frozen, seed=i)) for i in range(2)], Spec(saves=SAVES), tmp_path, plan=Plan(2, 2, 4))
    value = only(tmp_path).params[NAMES[0]]
    assert value.tobytes() == np.ascontiguousarray(np.broadcast_to(value[:, :1], value.shape)).tobytes()


def test_an_interrupted_sweep_resumes_to_the_same_bits(trained, tmp_path):
    segments = iter(range(100))
    with pytest.raises(Interrupted):
        sweep.run(RUNS, Spec(saves=SAVES), tmp_path, plan=PLAN, interrupted=lambda: next(segments) >= 0)
    assert len(only(tmp_path).steps) < len(SAVES)
    sweep.run(RUNS, Spec(saves=SAVES), tmp_path)
    assert [bits(only(tmp_path), run) for run in range(6)] == [bits(trained[0], run) for run in range(6)]


def test_short_of_memory_it_goes_on_in_narrower_lanes(trained, tmp_path, monkeypatch):
    launch = lanes.Lane.launch

    def limited(lane, gaps, segment):
        if lane.width > 2 and int(lane.state.step) >= 5:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")
        return launch(lane, gaps, segment)

    monkeypatch.setattr(lanes.Lane, "launch", limited)
    sweep.run(RUNS, Spec(saves=SAVES), tmp_path, plan=PLAN)
    group = only(tmp_path)
    assert group.manifest["plan"]["lane"] == 2
    assert same_training(*({**one.params, **one.measures} for one in (group, trained[0])))


# --- decays apart from the optimizer's own


@pytest.mark.parametrize("steps", [0, 30])
def test_vectors_lose_a_share_of_themselves(steps):
    def after(w, new):
        after.n = getattr(after, "n", 0) + 1
        return new | {"b": new["b"] * (0.9 if not steps or after.n <= steps else 1)}

    found = path(Chain(BASE, after=(VectorDecay(0.1, steps),)))
    for name, values in reference(after=after).items():
        np.testing.assert_allclose(found[name], values, **CLOSE)


def test_rows_are_pulled_to_one_length_and_zero_rows_stay():
    def after(w, new):
        def pulled(name):
            if w[name].ndim < 2:
                return new[name]
            return new[name] - 0.2 * w[name] * (1 - 1.5 / np.linalg.norm(w[name], axis=1, keepdims=True))

        return {name: pulled(name) for name in w}

    found = path(Chain(BASE, after=(RowPull(0.2, 1.5),)))
    for name, values in reference(after=after).items():
        np.testing.assert_allclose(found[name], values, **CLOSE)
    still = {"W": np.zeros((60, 2, 2), np.float32)}
    left = path(Chain(SGD(), after=(RowPull(0.2, 1.5),)), still, {"W": np.float32([[3, 4], [0, 0]])})["W"][-1]
    np.testing.assert_allclose(left, [[0.9, 1.2], [0, 0]], atol=1e-5)  # 3.5 · 0.8⁶⁰ = 5e-6 are left


def test_optimizers_that_have_such_a_decay_have_that_of_the_pieces():
    """LAMB's is the same program; that of SignedDecayAdamW is added before the learning rate: one more rounding a step."""
    own, piece = (
        path(one) for one in (LAMB(bias_decay=0.1, bias_decay_steps=30), Chain(LAMB(), after=(VectorDecay(0.1, 30),)))
    )
    for name in START:
        np.testing.assert_array_equal(own[name], piece[name])
    own = path(SignedDecayAdamW(lr=0.03, weight_decay=-0.5))
    piece = path(Chain(SignedDecayAdamW(lr=0.03, weight_decay=0.0), after=(RowPull(0.03 * 0.5),)))
    for name in START:
        np.testing.assert_allclose(own[name], piece[name], **CLOSE)


# --- refusals


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (Chain(optax.adam(0.1)), r"optimizer\.base is a \w+: it must be an optimizer, as AdamW\(\)\."),
        (Chain(AdamW), r"optimizer\.base is the class AdamW: it must be an optimizer, as AdamW\(\)\."),
        (Chain(KeepNorm()), r"optimizer\.base is a KeepNorm: it must be an optimizer, as AdamW\(\)\."),
        (Chain(None), r"optimizer\.base is a NoneType: it must be an optimizer, as AdamW\(\)\."),
        (Chain(AdamW(), before=Clip()), r"optimizer\.before is a Clip: it must be a tuple of pieces, as \(Clip.*"),
        (Chain(AdamW(), before=[Clip()]), r"optimizer\.before is a list: it must be a tuple of pieces, .*"),
        (Chain(AdamW(), after=None), r"optimizer\.after is a NoneType: it must be a tuple of pieces, .*"),
        (Chain(AdamW(), (Clip(), optax.clip(1.0))), r"optimizer\.before\.1 is a \w+: it must be a piece, .*"),
        (Chain(AdamW(), (Clip,)), r"optimizer\.before\.0 is the class Clip: it must be a piece, as Clip\(1\.0\)\."),
        (Chain(AdamW(), (AdamW(),)), r"optimizer\.before\.0 is a AdamW: it must be a piece, as Clip\(1\.0\)\."),
        (Chain(AdamW(), (), (Clip(),)), r"optimizer\.after\.0 is a Clip: it goes into before\."),
        (Chain(AdamW(), (KeepNorm(),)), r"optimizer\.before\.0 is a KeepNorm: it goes into after\."),
        (
            Chain(AdamW(), (), (KeepNorm(), Scale(("W_E",), 1.0))),
            r"optimizer\.after\.0 is a KeepNorm: it must be the last, for the norm to stay\.",
        ),
        (Chain(AdamW(lr=-1.0)), r"optimizer\.base\.lr is -1\.0: it must be a finite number, at least 0\."),
        (Chain(AdamW(lr=INF)), r"optimizer\.base\.lr is inf: it must be a number\."),
        (Chain(AdamW(), (Clip(0.0),)), r"optimizer\.before\.0\.norm is 0\.0: it must be a finite length above 0\."),
        (Chain(AdamW(), (Clip(), SlowGradients(1.0))), r"optimizer\.before\.1\.decay is 1\.0: it must lie in \[0, 1\)\."),
        (Chain(AdamW(), (SlowGradients(-0.1),)), r"optimizer\.before\.0\.decay is -0\.1: it must lie in \[0, 1\)\."),
        (Chain(AdamW(), (SlowGradients(0.5, NAN),)), r"optimizer\.before\.0\.gain is nan: it must be a number\."),
        (Chain(AdamW(), (Penalty(INF),)), r"optimizer\.before\.0\.strength is inf: it must be a number\."),
        (Chain(AdamW(), (), (Scale(("W_E",), INF),)), r"optimizer\.after\.0\.factor is inf: it must be a number\."),
        (Chain(AdamW(), (), (Scale(("W_E",), "x"),)), r"optimizer\.after\.0\.factor is 'x': it must be a number\."),
        (Chain(AdamW(), (), (Scale((), 1.0),)), r"optimizer\.after\.0\.names is \(\): it must name at least 1 param .*\."),
        (Chain(AdamW(), (), (Scale("W_E", 1.0),)), r"optimizer\.after\.0\.names is 'W_E': it must be a tuple of names .*"),
        (
            Chain(AdamW(), (), (Scale(("W_EE",), 1.0),)),
            r"optimizer\.after\.0\.names has 'W_EE', which is no param of the net: did you mean W_E\?",
        ),
        (Chain(AdamW(), (), (Scale(("z",), 1.0),)), r".*names has 'z', which is no param of the net: it has .*W_E.*\."),
        (Chain(AdamW(), (), (VectorDecay(1.0),)), r"optimizer\.after\.0\.share is 1\.0: it must lie in \[0, 1\), .*"),
        (Chain(AdamW(), (), (VectorDecay(0.1, -1),)), r"optimizer\.after\.0\.steps is -1: it must be at least 0, .*"),
        (Chain(AdamW(), (), (RowPull(-0.1),)), r"optimizer\.after\.0\.rate is -0\.1: it must lie in \[0, 1\), .*"),
        (Chain(AdamW(), (), (RowPull(0.1, 0.0),)), r"optimizer\.after\.0\.length is 0\.0: it must be a finite length .*"),
        (Chain(AdamW(), (), (KeepNorm(of="both"),)), r"optimizer\.after\.0\.of is 'both': .*it must be one of all, each\."),
        (AdamW(undecayed=("W_EE",)), r"optimizer\.undecayed has 'W_EE', which is no param of the net: did you mean W_E\?"),
        (AdamW(undecayed="W_E"), r"optimizer\.undecayed is 'W_E': it must be a tuple of names of params, as .*\."),
        (AdamW(undecayed=["W_E"]), r"optimizer\.undecayed is \['W_E'\]: it must be a tuple of names of params, as .*\."),
        (Chain(AdamW(undecayed=("z",))), r"optimizer\.base\.undecayed has 'z', which is no param of the net: .*"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_sentence(optimizer, message):
    with pytest.raises(ValueError, match=f"^{message}$") as error:
        cfg.check(config(optimizer))
    assert "\n" not in str(error.value)


class Bare(Piece):
    PLACE = "after"
    strength = 1.0


def test_an_attribute_of_a_piece_without_annotation_is_refused():
    with pytest.raises(
        ValueError, match=r"^optimizer\.after\.0\.strength has no annotation, and so is no field of Bare"
    ):
        cfg.check(config(Chain(AdamW(), after=(Bare(),))))


@pytest.mark.parametrize(
    ("piece", "field"),
    [(Clip(INF), "norm"), (Penalty(NAN), "strength"), (SlowGradients(NAN), "decay"), (SlowGradients(0.5, INF), "gain"),
     (Scale(("W",), NAN), "factor"), (KeepNorm("both"), "of")],
)  # fmt: skip
def test_a_piece_alone_refuses_by_its_field(piece, field):
    with pytest.raises(ValueError, match=rf"^{field} is .*: it must .*\.$"):
        piece.check()


def test_names_that_params_lack_are_refused_when_training_starts_from_others():
    for optimizer in (Chain(AdamW(), after=(Scale(("z",), 1.0),)), AdamW(undecayed=("z",))):
        with pytest.raises(ValueError, match="which is no param of the net"):
            optimizer.transform().init(START)


def test_a_norm_of_0_is_refused_where_the_params_are_known(tmp_path):
    zeros = jax.tree.map(np.zeros_like, START)
    for of, start, words in (
        ("each", START | {"b": np.zeros(3, np.float32)}, r"of is 'each', and b starts at norm 0"),
        ("all", zeros, r"of is 'all', and all params start at 0"),
    ):
        chain = Chain(AdamW(), after=(KeepNorm(of),))
        with pytest.raises(ValueError, match=rf"^optimizer\.after\.0\.{words}"):
            train.init(config(chain), start)
        shapes = jax.eval_shape(train.init, config(chain), start)
        assert shapes.params["b"].shape == (3,)
        found = path(chain, GRADIENTS, start)
        assert all(np.isfinite(value).all() for value in found.values())
        np.testing.assert_array_equal(found["b"], 0)
    start = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(NET.init, jax.random.key(0)))
    runs = [cfg.check(config(Chain(AdamW(), after=(KeepNorm(),))))]
    with pytest.raises(store.StoreError, match=r"optimizer\.after\.0\.of is 'all', and all params start at 0"):
        sweep.run(runs, Spec(saves=SAVES, start=start), tmp_path, plan=Plan(1, 2, 4))
