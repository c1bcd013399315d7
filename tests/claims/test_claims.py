"""Claims as stated and judged: looks, set-ups, variants, families, what is fixed, tables."""

import functools
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from toylab.claims import (
    Claim,
    Direction,
    Excess,
    Fidelity,
    Identity,
    Median,
    Source,
    Within,
    analogue,
    code,
    counts,
    frozen,
    page,
    scaled,
    table,
)

SOURCE = Source("Nanda et al. 2023", "Section 4", "rises", 5)


def effects(m):
    return m["effects"]


def doubled(m):
    return 2 * effects(m)


def of(*values):
    return {"effects": np.array(values, float)}


CLAIM = Claim("rises", SOURCE, effects, Direction(), looks=(6,))
UP = of(*np.linspace(1, 2, 6))


def test_a_judged_claim_has_what_the_table_shows():
    judged = CLAIM.judge(UP)
    assert judged["verdict"] == "agrees" and judged["n"] == 6 and judged["estimate"] == 1.5
    assert judged["interval"] == [1, 2] and judged["share"][0] == 1 and judged["level"] == 0.95
    assert judged["source"] == {"paper": "Nanda et al. 2023", "where": "Section 4", "says": "rises", "n": 5}
    assert judged["values"] == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 2])


@pytest.mark.parametrize(
    ("n", "verdict", "level"),
    [(5, "undecided", 0.95), (6, "undecided", 0.99), (20, "agrees", 0.98), (60, "agrees", 0.98)],
)
def test_looks_spend_the_error_and_stop_where_decided(n, verdict, level):
    claim = replace(CLAIM, looks=(6, 20, 50))
    outcome, at = claim.outcome(np.linspace(1, 2, n))
    assert (outcome.verdict, at) == (verdict, level) and outcome.n == min(n, 20)


@pytest.mark.parametrize(("n", "verdict", "level"), [(8, "direction only", 0.98), (20, "agrees", 0.97)])
def test_a_direction_that_lacks_values_goes_on_to_the_next_look(n, verdict, level):
    """Wilson's interval of 8 of 8 does not lie above 0.8, that of 20 of 20 does."""
    claim = replace(CLAIM, kind=Direction(always=True), looks=(8, 20))
    outcome, at = claim.outcome(np.linspace(1, 2, n))
    assert (outcome.verdict, at, outcome.n) == (verdict, level, n)


def test_a_direction_whose_amount_is_another_is_decided():
    claim = replace(CLAIM, kind=Direction(amount=9, margin=2), looks=(8, 20))
    outcome, at = claim.outcome(np.linspace(1, 2, 20))
    assert (outcome.verdict, at, outcome.n) == ("direction only", 0.98, 8)


def test_a_run_without_any_value_is_a_gap_and_no_warning():
    gaps = np.array([[1.0, np.nan], [np.nan, np.nan]] * 3)
    claim = replace(CLAIM, quantity=lambda m: np.nanmedian(gaps, axis=1))
    judged = claim.judge(UP)
    assert judged["n"] == 6 and judged["verdict"] == "undecided"


def test_values_before_the_first_look_decide_nothing_and_are_shown():
    judged = replace(CLAIM, looks=(20,)).judge(UP)
    assert judged["verdict"] == "undecided" and judged["reason"] == "6 of 20 planned values."
    assert judged["estimate"] == 1.5 and judged["seeds"] == 20


def test_values_after_the_last_look_are_not_looked_at():
    late = np.concatenate([np.linspace(1, 2, 6), np.full(100, -1.0)])
    assert CLAIM.judge({"effects": late})["verdict"] == "agrees"


def test_only_an_exact_set_up_differs():
    down = of(*np.linspace(-2, -1, 6))
    assert CLAIM.judge(down)["verdict"] == "differs"
    smaller = replace(CLAIM, fidelity=scaled("width 64, not 128")).judge(down)
    assert smaller["verdict"] == "not at this scale" and "width 64, not 128" in smaller["reason"]
    assert replace(CLAIM, fidelity=analogue("p = 31")).judge(UP)["verdict"] == "agrees"


def test_what_needs_more_is_not_judged_here():
    judged = replace(CLAIM, needs="500,000 steps: `toylab run x --scale paper`.").judge(UP)
    assert judged["verdict"] == "not at this scale" and judged["reason"].startswith("500,000 steps")


def test_variants_are_counted_and_a_flip_is_said():
    claim = replace(CLAIM, variants={"twice": doubled, "minus": lambda m: -effects(m), "broken": lambda m: m["no"]})
    judged = claim.judge(UP)
    assert judged["variants"] == {"twice": "agrees", "minus": "differs", "broken": "not applicable (KeyError: no)"}
    assert table.multiverse(judged) == "2 of 4" and "minus differs" in judged["reason"]


def test_a_claim_that_cannot_be_computed_is_not_applicable():
    judged = CLAIM.judge({}, "task.p = 31")
    assert judged["verdict"] == "not applicable"
    assert judged["reason"] == "Not applicable under task.p = 31 (KeyError: effects)."
    assert CLAIM.judge(of())["verdict"] == "not applicable"
    assert table.markdown([judged]).count("\n") == 5


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"quantity": 3}, "no function"),
        ({"ledger": "regression"}, "all else is a test"),
        ({"source": None}, "where its source says it"),
        ({"source": Source("Nanda et al. 2023", "Section 4")}, "where its source says it"),
        ({"fidelity": Fidelity("scaled")}, "not said what is different"),
        ({"kind": "direction"}, "give one of toylab.claims.kinds"),
        ({"kind": Within()}, "cannot be: its range"),
        ({"looks": (20, 6)}, "ascending"),
        ({"looks": ()}, "one to three"),
        ({"looks": (3,)}, "its kind needs 6"),
        ({"variants": {"a": 1}}, "the variant 'a'"),
        ({"family": "lines"}, "no test that could be corrected"),
        ({"family": "lines", "kind": Excess(2), "looks": (20,)}, ""),
        ({"ledger": "finding", "source": None}, ""),
        ({"ledger": "check", "kind": Identity(1.0), "looks": (1,)}, ""),
        ({"ledger": "check"}, "give Identity, with a slack for rounding"),
        (
            {"ledger": "check", "kind": Identity(1.0), "looks": (1,), "source": None},
            "the check 'rises' does not say where",
        ),
    ],
)
def test_what_is_wrong_with_a_claim(changes, wrong):
    found = page.wrong(replace(CLAIM, **changes))
    assert wrong in found if wrong else not found


def test_tests_of_a_family_are_corrected_together():
    def line(counted):
        claim = Claim(f"line {counted}", SOURCE, lambda m: np.array([[counted, 10.0]]), Excess(2), family="lines")
        return claim.judge({})

    alone = line(18)
    assert alone["verdict"] == "agrees" and alone["p"] < 0.05
    together = page.corrected([line(18), *(line(10) for _ in range(9))])
    assert together[0]["verdict"] == "undecided" and "Of the 10 tests of lines" in together[0]["reason"]
    assert page.corrected([line(60), line(10)])[0]["verdict"] == "agrees"


def test_claims_of_one_event_count_once_and_ledgers_are_apart():
    judged = [
        replace(CLAIM, name="a", event="pentagon").judge(UP),
        replace(CLAIM, name="b", event="pentagon").judge(of(*-UP["effects"])),
        replace(CLAIM, name="c").judge(UP),
        replace(CLAIM, name="d", ledger="finding").judge(UP),
        {**replace(CLAIM, name="e").judge(UP), "withdrawn": True},
        replace(CLAIM, name="f", ledger="check").judge(UP),
    ]
    assert counts.counts(judged) == {"agrees": 1, "differs": 1}
    assert counts.counts(judged, "finding") == {"agrees": 1}
    assert counts.counted(counts.counts(judged)) == "1 agrees, 1 differs"
    assert counts.headline([judged, [], judged]) == (
        "Of 4 findings that papers state 2 agree, 2 differ. Of 2 findings of our own 2 agree. "
        "Withdrawn after their runs and not counted: 2 agree."
    )
    assert counts.headline([[], []]) == ""
    assert counts.held(judged).endswith("; of our own findings 1 agrees; of checks on released weights 1 agrees")
    text = table.markdown(judged)
    assert "## Checks of our analyzers on released weights: 1 agrees" in text
    assert "## What papers state: 1 agrees, 1 differs" in text and "## What we found" in text and "~~e" in text


def test_a_table_s_row_in_words():
    values = np.exp(np.linspace(-0.05, 0.05, 20)) * 1.1
    source = Source("Zhong et al. 2023", "Fig. 4 | left", "0.99", 277)
    claim = Claim("GS", source, effects, Median(1.0, 1.2, "log"), fidelity=scaled("width 64"))
    cells = table.cells({**claim.judge({"effects": values}), "confirmed": False}, table.escaped)
    assert cells[0] == "GS (Zhong et al. 2023, Fig. 4 \\| left)"
    assert cells[1] == "0.99 (n = 277); rule: median within a factor 1.2 of 1"
    assert cells[2].startswith("median 1.1 [1.") and cells[3].startswith("×1.1 [1.") and cells[4] == "scaled: width 64"
    assert cells[6] == "agrees Exploratory: development seeds."


MODULE = """
from functools import partial
import numpy as np
from numpy import mean
BOUND = {bound}
def helper(m):
    return m["x"] > BOUND
def quantity(m, k: int = {k}){annotation}:
    {docstring}
    return helper(m).sum() + k  {comment}
lam = lambda m: m["x"] + {k}
calls_itself = lambda m: calls_itself(m[1:]) if m else BOUND
def make(n):
    def inner(m):
        return m["x"] * n
    return inner
inner = make({k})
"""


def module(tmp_path, bound=1, k=0, annotation="", docstring="", comment=""):
    path = tmp_path / "measured.py"
    source = MODULE.format(bound=bound, k=k, annotation=annotation, docstring=docstring or "pass", comment=comment)
    path.write_text(textwrap.dedent(source).replace("    pass\n", ""))
    code._functions.cache_clear()
    space = {"__name__": "measured"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space


def test_a_digest_is_of_what_is_computed(tmp_path):
    names = ("quantity", "lam", "inner", "calls_itself")
    before = {name: code.digest(module(tmp_path)[name]) for name in names}
    same = module(tmp_path, annotation=" -> object", docstring='"""Words."""', comment="# more words")
    assert {name: code.digest(same[name]) for name in names} == before
    other = module(tmp_path, k=1)
    assert [code.digest(other[name]) != before[name] for name in names] == [True, True, True, False]
    other = module(tmp_path, bound=2)  # a constant that a function that it calls uses
    assert [code.digest(other[name]) != before[name] for name in names] == [True, False, False, True]


def test_a_digest_is_the_same_in_each_process():
    """An array function that checks its arguments keeps sets, whose order hangs on the seed of hashes."""
    ask = (
        "from functools import partial; import numpy as np; from toylab.analysis import geometry; "
        "from toylab.claims import code; print(code.digest(partial(np.median, a=geometry.dimensionality)))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", ask], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        for seed in ("1", "2")
    ]
    assert told[0].stdout == told[1].stdout != "", told[0].stderr


def test_a_digest_of_partial_functions_and_plain_values():
    assert code.digest(functools.partial(effects)) != code.digest(effects)
    assert code.digest(functools.partial(doubled, 1)) != code.digest(functools.partial(doubled, 2))
    assert code.digest(np.median) == code.digest(np.median) and len(code.digest((1, "a"))) == code.SIZE
    with pytest.raises(ValueError, match="no source file"):
        code.digest(eval("lambda m: m"))


def test_a_claim_that_was_fixed_and_changed_is_refused():
    training = {"stop": "none", "last save": "1000"}
    fixed = {CLAIM.name: frozen.fixed(CLAIM, training)}
    kept = frozen.added(fixed, {}, range(100, 106))
    assert frozen.changed(fixed, kept) == "" and frozen.changed({"new": fixed["rises"]}, kept) == ""
    for other, what in [
        (replace(CLAIM, kind=Direction(always=True)), "kind"),
        (replace(CLAIM, quantity=doubled), "quantity"),
        (replace(CLAIM, looks=(20,)), "looks"),
        (replace(CLAIM, variants={"twice": doubled}), "variants"),
    ]:
        assert f"its {what} changed since" in frozen.changed({CLAIM.name: frozen.fixed(other, training)}, kept)
    less = {CLAIM.name: frozen.fixed(replace(CLAIM, fidelity=scaled("less")), training)}
    assert frozen.changed(less, kept) == ""  # farther from the paper's than was thought
    reworded = {CLAIM.name: frozen.fixed(replace(CLAIM, fidelity=scaled("other")), training)}
    for nearer in (fixed, reworded):
        assert "its fidelity changed since" in frozen.changed(nearer, less)
    later = frozen.fixed(CLAIM, {**training, "last save": "2000"})
    assert "its last save changed since" in frozen.changed({CLAIM.name: later}, kept)


def test_new_claims_are_fixed_for_seeds_that_were_not_seen_and_old_ones_go_on():
    old, new = {"old": {"kind": "a"}}, {"old": {"kind": "a"}, "new": {"kind": "b"}}
    first = frozen.added(old, {}, range(100, 106))
    assert first == {"old": {"kind": "a", "seeds": "100-105"}}
    more = frozen.added(new, first, range(100, 120))  # some were trained already
    assert more == {"old": {"kind": "a", "seeds": "100-119"}}
    other = frozen.added(new, more, [120, 122])
    assert other == {"old": {"kind": "a", "seeds": "100-120, 122"}, "new": {"kind": "b", "seeds": "120, 122"}}
    assert frozen.confirmed(other["old"], range(100, 121)) and not frozen.confirmed(other["new"], [119, 120])
    assert not frozen.confirmed(None, [120]) and not frozen.confirmed(other["old"], [3])


def test_a_fixed_claim_that_is_gone_stays_struck_through():
    before = [CLAIM.judge(UP), replace(CLAIM, name="never fixed").judge(UP)]
    gone = frozen.withdrawn(["other"], {"rises": {}}, before)
    assert [one["name"] for one in gone] == ["rises"] and gone[0]["withdrawn"] and gone[0]["verdict"] == "agrees"
    assert frozen.withdrawn(["rises"], {"rises": {}}, before) == []


def test_seeds_that_confirm():
    assert frozen.confirming([100, 119]) and not frozen.confirming([9, 100]) and not frozen.confirming([])


def test_values_beyond_the_last_look_are_told_not_dropped_in_silence():
    more, planned = CLAIM.judge(of(*[1.0] * 30)), CLAIM.judge(UP)
    assert more["n"] == 6 and more["given"] == 30 and table.ours(more).endswith("n = 6, the first of 30")
    assert "given" not in planned and table.ours(planned).endswith("n = 6")
