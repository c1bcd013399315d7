"""A page whose claims are judged by rules: what is fixed before confirming seeds are trained, refused, and drawn."""

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from small_pages import of_all_scales, small

import run_sweep
from toylab.claims import Claim, Direction, Median, Source, Within
from toylab.lab import Part, pages, verdicts

SOURCE = Source("Elhage et al. 2022", "Section 2", "0.5", 3)
SEEDS = tuple(range(100, 106))


def fall(m):
    return m["loss"][:, 0] - m.last("loss")


def last_loss(m):
    return m.last("loss")


CLAIMS = [
    Claim("the loss falls", SOURCE, fall, Direction(), looks=(6,)),
    Claim("the loss at the end", SOURCE, last_loss, Median(0.5, 1.2, "log"), looks=(6,)),
    Claim("what we saw", None, last_loss, Within(0, 10), ledger="finding", looks=(6,)),
]


def confirming(width=1):
    return [replace(small(width, 1)[0], seed=seed) for seed in SEEDS]


@pytest.fixture
def page(monkeypatch):
    module = types.ModuleType("experiments.judged")
    module.PARTS = {
        "confirmed": Part(of_all_scales(confirming()), of_all_scales((0, 3)), CLAIMS),
        "developed": Part(
            of_all_scales(small(2, seeds=6)), of_all_scales((0, 3)), [replace(CLAIMS[0], name="it falls here too")]
        ),
    }
    monkeypatch.setitem(sys.modules, "experiments.judged", module)
    monkeypatch.setattr(pages, "load", lambda name: module)
    return module


def command(out, *options):
    return run_sweep.main(["judged", "--scale", "smoke", "--out", str(out), *options])


def kept(out, name="claims.json"):
    return json.loads((out / "judged" / name).read_text())


def changed(page, **changes):
    page.PARTS["confirmed"] = replace(page.PARTS["confirmed"], claims=[replace(CLAIMS[0], **changes), *CLAIMS[1:]])


def test_claims_are_fixed_before_their_confirming_seeds_are_trained(page, tmp_path):
    assert command(tmp_path, "--stage", "train") == 0
    fixed = kept(tmp_path, verdicts.FILE)
    assert set(fixed) == {claim.name for claim in CLAIMS}  # those of development seeds are not
    assert (
        fixed["the loss falls"]["kind"].startswith("Direction null 0.0") and fixed["the loss falls"]["last save"] == "3"
    )
    began = (tmp_path / "judged" / verdicts.FILE).stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns > began for path in (tmp_path / "judged" / "runs").rglob("_CHECKPOINT_METADATA"))


def test_judged_claims_say_whether_they_are_confirmed(page, tmp_path, capsys):
    assert command(tmp_path) == 0
    claims = {claim["name"]: claim for claim in kept(tmp_path)["claims"]}
    assert [claim["confirmed"] for claim in claims.values()] == [True, True, True, False]
    text = (tmp_path / "judged" / "claims.md").read_text()
    assert text.count("Exploratory") == 1 and "## What we found, and no paper says: 1 agrees" in text
    assert (tmp_path / "judged" / "figures" / "forest.png").is_file()
    out = capsys.readouterr().out
    assert "the loss at the end" in out and "Elhage et al. 2022" in out


def test_a_claim_changed_after_its_seeds_were_trained_is_refused(page, tmp_path, capfd):
    assert command(tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for changes in ({"kind": Direction(always=True)}, {"quantity": last_loss}, {"looks": (20,)}):
        changed(page, **changes)
        capfd.readouterr()
        assert command(tmp_path, "--stage", "analyze") == 2
        said = capfd.readouterr().err.strip()
        assert "'the loss falls' was fixed before its confirming seeds were trained" in said and said.count("\n") == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_changed_claim_of_another_name_leaves_the_old_one_struck_through(page, tmp_path):
    assert command(tmp_path) == 0
    changed(page, name="the loss nearly always falls", kind=Direction(always=True))
    assert command(tmp_path) == 0
    claims = {claim["name"]: claim for claim in kept(tmp_path)["claims"]}
    assert claims["the loss falls"]["withdrawn"] and not claims["the loss nearly always falls"].get("withdrawn")
    assert "~~the loss falls" in (tmp_path / "judged" / "claims.md").read_text()
    assert not claims["the loss nearly always falls"]["confirmed"]  # its seeds were trained before it was stated
    assert command(tmp_path, "--stage", "analyze") == 0  # and it stays so
    assert [claim["name"] for claim in kept(tmp_path)["claims"]] == list(claims)


def test_a_claim_of_a_part_that_is_not_measured_is_not_withdrawn(page, tmp_path):
    assert command(tmp_path) == 0
    (tmp_path / "judged" / "measures.npz").unlink()
    assert command(tmp_path, "--part", "developed") == 0
    assert [claim["name"] for claim in kept(tmp_path)["claims"]] == ["it falls here too"]


def test_a_record_of_what_was_fixed_is_of_the_scale_that_is_run(page, tmp_path):
    assert command(tmp_path, "--stage", "train") == 0
    seeds = {"confirmed": SEEDS}
    verdicts.fix(page, "cpu", tmp_path / "judged", seeds, {"on": "2026-11-29"})
    fixed = kept(tmp_path, verdicts.FILE)["the loss falls"]
    assert fixed["scale"] == "cpu" and fixed["on"] == "2026-11-29" and fixed["seeds"] == "100-105"


def test_a_claim_that_does_not_fit_other_values_is_not_applicable(page, tmp_path):
    def at_three(m):
        return np.ones(len(m.valid))[m["config/net.n_hidden"] == 1]

    changed(page, quantity=at_three)
    assert command(tmp_path, "--part", "confirmed", "--set", "net.n_hidden=2") == 0
    claim = kept(tmp_path)["claims"][0]
    assert claim["verdict"] == "not applicable" and "under net.n_hidden = 2 (no run has it)" in claim["reason"]


def test_a_replication_without_its_place_is_refused_when_the_page_is_loaded(page, tmp_path, capfd):
    changed(page, source=Source("Elhage et al. 2022"))
    assert command(tmp_path) == 2
    assert "does not say where its source says it" in capfd.readouterr().err and not list(tmp_path.iterdir())


def test_what_is_not_decided_at_this_scale_comes_with_the_command_that_trains_the_larger_one(page, tmp_path):
    larger = of_all_scales(confirming()) | {"paper": confirming(width=2)}
    needing = [replace(CLAIMS[0], needs="A GPU."), replace(CLAIMS[1], needs="A GPU.", options="--set net.n_hidden=3")]
    page.PARTS["confirmed"] = Part(larger, of_all_scales((0, 3)), [*needing, CLAIMS[2]])
    page.PARTS["developed"] = replace(page.PARTS["developed"], claims=[replace(needing[0], name="of one size")])
    assert command(tmp_path) == 0
    first, second, found, same = kept(tmp_path)["claims"]
    assert first["command"] == "python run_sweep.py judged --scale paper --part confirmed"
    assert second["command"] == f"{first['command']} --set net.n_hidden=3"
    assert "command" not in found  # it is decided here
    assert same["verdict"] == "not at this scale" and "command" not in same  # paper would train the same runs
    text = (tmp_path / "judged" / "claims.md").read_text()
    assert text.count("For an accelerator: `python run_sweep.py judged --scale paper --part confirmed") == 2
