"""What every page trains and analyzes lowers for a TPU and for CUDA, on a machine that has neither.

`jax.export` runs the lowering rules of the other platform: an operation that has none there, as `eig` on a TPU, is named.
It compiles nothing. Sizes are those of smoke scale.
"""

import jax
import jax.numpy as jnp
import pytest
from jax import export

from toylab import configs as cfg
from toylab import lab, train
from toylab.analysis import over_runs, together
from toylab.base import Run
from toylab.lab import pages
from toylab.sweep import lanes

PLATFORMS = ("tpu", "cuda")
POINTS = 2  # of a slab, and gaps of a segment


def parts():
    for name in sorted(pages.built_in()):
        for part_name, part in lab.parts(pages.load(name)).items():
            if not part.imported:
                yield pytest.param(part, id=f"{name}-{part_name}" if part_name else name)


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.asarray(x).dtype), tree)


def zeros(tree):
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


def lowered(fn, *args, platforms=PLATFORMS):
    with jax.default_matmul_precision("highest"):  # as the command line trains
        return export.export(fn, platforms=platforms)(*args)


@pytest.fixture(scope="module", params=list(parts()))
def part(request):
    return request.param


@pytest.fixture(scope="module")
def config(part):
    return cfg.check(part.configs["smoke"][0])


def lane(part, config):
    """A lane of two runs, and what it is called with."""
    both = cfg.stack([config, config])
    one = jax.eval_shape(train.init, config)
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), one.replace(step=None))
    function = lanes.compiled(2, tuple(part.probes.items()), part.keep)
    return function, shapes(both), rows.replace(step=one.step), jax.ShapeDtypeStruct((POINTS,), jnp.int32)


def test_a_lane_of_two_runs_lowers(part, config):
    lowered(*lane(part, config))


@pytest.mark.parametrize("scale", ["smoke", "cpu"])
def test_grokking_has_no_addition_by_index_on_accelerators(scale):
    """For one whose bits are to repeat a GPU sorts, which takes two thirds of the bytes of a step."""
    (part,) = lab.parts(pages.load("grokking")).values()
    for platform, some in {"cuda": False, "tpu": False, "cpu": True}.items():
        program = lowered(*lane(part, cfg.check(part.configs[scale][0])), platforms=[platform]).mlir_module()
        assert ("stablehlo.scatter" in program) == some


def test_its_analyses_lower(part, config, monkeypatch):
    monkeypatch.setattr(jax.debug, "callback", lambda *args, **options: None)  # devices have it, and an export cannot
    monkeypatch.setattr(jax, "pure_callback", lambda _, wanted, *args, **options: zeros(wanted))  # nor this
    params = jax.eval_shape(train.init, config).params
    kept = {name: leaf for name, leaf in params.items() if part.keep is None or name in part.keep}
    slab = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((POINTS, *leaf.shape), leaf.dtype), kept)
    run = Run(shapes(config), jax.eval_shape(train.data, config))
    if part.final:
        last = together(**part.final)
        lowered(over_runs._analyze_slab, last, slab, run)
        run = run.replace(final=jax.eval_shape(last, kept, run))
    if part.analyses:
        lowered(over_runs._analyze_slab, together(**part.analyses), slab, run)
    if not (part.final or part.analyses):
        pytest.skip("it has none")


def test_what_has_no_lowering_there_is_seen():
    with pytest.raises(Exception, match="'eig' not found for platform"):
        lowered(jax.jit(jnp.linalg.eigvals), jax.ShapeDtypeStruct((3, 3), jnp.float32))
