"""What a step moves, counted by hand in small texts of compiled programs, and found in programs that XLA compiled here."""

import jax
import jax.numpy as jnp
import pytest

from toylab import configs as cfg
from toylab import platforms, train
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import lanes, memory
from toylab.sweep.ahead import hlo
from toylab.sweep.ahead.moved import Cost, Program
from toylab.tasks import ModularArithmetic

TEXT = """HloModule jit_call, is_scheduled=true

%sliced (p0: f32[1000,64], p1: s32[]) -> f32[1,64] {
  %p0 = f32[1000,64]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %slice = f32[1,64]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,64}
}

%written (p0: f32[1000,64], p1: f32[1,64], p2: s32[]) -> f32[1000,64] {
  %p0.1 = f32[1000,64]{1,0} parameter(0)
  %p1.1 = f32[1,64]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %zero.1 = s32[] constant(0)
  %twice = f32[1,64]{1,0} add(%p1.1, %p1.1)
  ROOT %update = f32[1000,64]{1,0} dynamic-update-slice(%p0.1, %twice, %p2, %zero.1)
}

%inner_body (arg: (s32[], bf16[8,128])) -> (s32[], bf16[8,128]) {
  %arg = (s32[], bf16[8,128]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %h = bf16[8,128]{1,0} get-tuple-element(%arg), index=1
  %negated = bf16[8,128]{1,0} negate(%h)
  ROOT %both = (s32[], bf16[8,128]{1,0}) tuple(%i, %negated)
}

%inner_condition (arg.1: (s32[], bf16[8,128])) -> pred[] {
  %arg.1 = (s32[], bf16[8,128]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  %five = s32[] constant(5)
  ROOT %less = pred[] compare(%i.1, %five), direction=LT
}

%body (state: (s32[], f32[1000,64], (s32[], bf16[8,128]))) -> (s32[], f32[1000,64], (s32[], bf16[8,128])) {
  %state = (s32[], f32[1000,64]{1,0}, (s32[], bf16[8,128]{1,0})) parameter(0)
  %at = s32[] get-tuple-element(%state), index=0
  %table = f32[1000,64]{1,0} get-tuple-element(%state), index=1
  %rest = (s32[], bf16[8,128]{1,0}) get-tuple-element(%state), index=2
  %row = f32[1,64]{1,0} fusion(%table, %at), kind=kLoop, calls=%sliced, metadata={op_name="a/steps/while/body/x"}
  %new = f32[1000,64]{1,0} fusion(%table, %row, /*index=2*/%at), kind=kLoop, calls=%written
  %loop = (s32[], bf16[8,128]{1,0}) while(%rest), condition=%inner_condition, body=%inner_body
  %flat = f32[64]{0} bitcast(%row)
  ROOT %out = (s32[], f32[1000,64]{1,0}, (s32[], bf16[8,128]{1,0})) tuple(%at, %new, %loop)
}

%condition (state.1: (s32[], f32[1000,64], (s32[], bf16[8,128]))) -> pred[] {
  %state.1 = (s32[], f32[1000,64]{1,0}, (s32[], bf16[8,128]{1,0})) parameter(0)
  %at.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %more = pred[] compare(%at.1, %at.1), direction=LT
}

ENTRY %main (start: (s32[], f32[1000,64], (s32[], bf16[8,128]))) -> (s32[], f32[1000,64], (s32[], bf16[8,128])) {
  %start = (s32[], f32[1000,64]{1,0}, (s32[], bf16[8,128]{1,0})) parameter(0)
  ROOT %run = (s32[], f32[1000,64]{1,0}, (s32[], bf16[8,128]{1,0})) while(%start), condition=%condition, body=%body, metadata={op_name="jit(call)/vmap(steps)/while" stack_frame_id=3}
}
"""  # noqa: E501


def test_bytes_are_those_that_were_counted_by_hand():
    row, counter, inner = 64 * 4, 4, 8 * 128 * 2
    read = row + counter + row  # the row of the table, where it is, the result
    written = row + counter + row  # the row, where to, and what is written in place
    loop = 5 * (2 * inner + (4 + 4 + 1))  # negated five times; each time i < 5 is asked
    found = Program(TEXT).a_step("steps")
    assert found.moved == found.padded == found.logical == read + written + loop
    assert found.kernels == 2 + 5 * 2


def test_a_loop_counts_as_often_as_the_compiler_says():
    known = TEXT.replace("body=%inner_body", 'body=%inner_body, backend_config={"known_trip_count":{"n":"7"}}')
    more = Program(known).a_step("steps").moved - Program(TEXT).a_step("steps").moved
    assert more == 2 * (2 * 8 * 128 * 2 + 9)


def test_a_step_that_cannot_be_counted_is_not():
    unknown = TEXT.replace("%five = s32[] constant(5)", "%five = s32[] get-tuple-element(%arg.1), index=0")
    with pytest.raises(ValueError, match=r"a loop in it \(loop\) whose length is not known"):
        Program(unknown).a_step("steps")
    with pytest.raises(ValueError, match="0 loops over steps, not one"):
        Program(TEXT).a_step("epochs")
    with pytest.raises(ValueError, match="no computation 'inner_body'"):
        Program(TEXT.replace("%inner_body (", "%other (")).a_step("steps")
    with pytest.raises(ValueError, match="bracket that is not closed"):
        hlo.operation("  %a = (f32[2], f32[2] tuple(%b")


def test_a_fusion_that_reads_all_of_an_operand_counts_all_of_it():
    whole = TEXT.replace(
        "ROOT %slice = f32[1,64]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,64}",
        "%all = f32[64]{0} reduce(%p0, %zero), dimensions={0}\n  ROOT %slice = f32[1,64]{1,0} bitcast(%all)",
    )
    more = Program(whole).a_step("steps").moved - Program(TEXT).a_step("steps").moved
    assert more == 999 * 64 * 4


def test_of_branches_the_larger_counts_and_copies_once():
    text = """
%small (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %n = f32[8]{0} negate(%p)
}

%large (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  %w = f32[8,100]{1,0} broadcast(%q), dimensions={0}
  ROOT %s = f32[8]{0} slice(%w), slice={[0:8], [0:1]}
}

ENTRY %main (x: f32[8], i: s32[]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %i = s32[] parameter(1)
  %c = f32[8]{0} conditional(%i, %x, %x), branch_computations={%small, %large}
  %go = (f32[8]{0:S(1)}, f32[8]{0}, u32[]{:S(2)}) copy-start(%c)
  ROOT %came = f32[8]{0:S(1)} copy-done(%go)
}
"""
    found = Program(text).cost("main")
    branch = (32 + 3200) + (32 + 32)  # spread out; of that a slice
    assert found.moved == branch + 32  # read from main memory, written to the chip's own
    assert found.padded == branch + 64


@pytest.mark.parametrize(
    ("text", "size", "padded", "space"),
    [
        ("f32[160,5,2]{1,2,0:T(2,128)S(1)}", 160 * 5 * 2 * 4, 160 * 2 * 128 * 4, 1),
        ("f32[160,5]{1,0:T(8,128)}", 160 * 5 * 4, 160 * 128 * 4, 0),
        ("bf16[3,9,130]{2,1,0:T(8,128)(2,1)}", 3 * 9 * 130 * 2, 3 * 16 * 256 * 2, 0),
        ("f32[8,3]{0,1:T(8,128)}", 96, 8 * 128 * 4, 0),  # axis 0 runs fastest: 3 rows of 8
        ("s32[]{:T(128)}", 4, 512, 0),
        ("pred[7]{0}", 7, 7, 0),
        ("c64[4,4]", 128, 128, 0),
        ("s4[9]{0}", 5, 5, 0),
        ("f8e4m3fn[10]{0}", 10, 10, 0),
        ("f32[<=6,2]{1,0}", 48, 48, 0),
        ("token[]", 0, 0, 0),
        ("f32[0,128]{1,0:T(8,128)}", 0, 0, 0),
    ],
)
def test_bytes_of_an_array_with_and_without_tiles(text, size, padded, space):
    (found,) = hlo.arrays(text)
    assert (found.bytes, found.padded, found.space) == (size, padded, space)


def test_a_line_is_read_with_its_tuples_comments_and_attributes():
    line = (
        "  ROOT %f.1 = (f32[8,5]{1,0:T(8,128)S(1)}, /*index=1*/s32[]) fusion(%a.2, %b-c, /*index=2*/%d), kind=kOutput, "
        'calls=%fused.9.clone, backend_config={"estimated_cycles":"123904"}'
    )
    found = hlo.operation(line)
    assert (found.name, found.kind, found.root) == ("f.1", "fusion", True)
    assert found.operands == ("a.2", "b-c", "d") and [one.shape for one in found.results] == [(8, 5), ()]
    assert found.called("calls") == "fused.9.clone" and found.called("body") == ""
    whole = f"ENTRY %m (x: f32[]) -> f32[] {{\n  %a.2 = f32[100]{{0}} parameter(0)\n{line}\n}}\n"
    assert Program(whole).cost("m").cycles == 123904


def test_collectives_are_seen_wherever_they_stand():
    text = TEXT.replace("%negated = bf16[8,128]{1,0} negate(%h)", "%negated = bf16[8,128]{1,0} all-reduce-start(%h)")
    assert Program(TEXT).collectives() == [] and Program(text).collectives() == ["all-reduce"]


def test_what_xla_compiled_here_is_counted_as_by_hand():
    """x ← x @ W, n times: the product reads x and W and writes x; what else stands in the body XLA may choose: a copy of
    the result, and the counter."""

    def many(x, w, n):
        with jax.named_scope("steps"):
            return jax.lax.fori_loop(0, n, lambda _, x: x @ w, x)

    x, w = jnp.zeros((32, 64)), jnp.zeros((64, 64))
    found = Program(jax.jit(many).lower(x, w, 3).compile().as_text()).a_step("steps")
    product, copy, counters = 2 * x.nbytes + w.nbytes, 2 * x.nbytes, 64
    assert product <= found.moved <= product + copy + counters


def small():
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=8, d_mlp=16)
    return cfg.check(Config(ModularArithmetic(p=11, n_train=60), net, AdamW()))


@pytest.mark.parametrize("width", [1, 3])
def test_the_loop_over_steps_is_found_in_a_lane(width):
    config = small()
    lowered = lanes.compiled(width, (), ()).lower(*memory.arguments(config, width, 2))
    found = Program(lowered.compile().as_text())
    step = found.a_step(platforms.STEPS)
    state = jax.eval_shape(train.init, config)
    params = sum(leaf.size * 4 for leaf in jax.tree.leaves(state.params))
    assert step.moved > 6 * width * params  # AdamW reads and writes params and both of its averages
    assert found.collectives() == [] and step.kernels > 5


def test_costs_add_up():
    one = Cost(1, 2, 3, 4, 5)
    assert one + one.times(2) == Cost(3, 6, 9, 12, 15)
