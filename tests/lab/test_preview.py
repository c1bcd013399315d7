"""The preview before anything is compiled, and that it creates nothing."""

import re

import jax
import pytest
from command_line import SMOKE, own_settings, refused, tree  # noqa: F401

import run_sweep
from toylab import sweep
from toylab.experiments.grokking import grokking
from toylab.experiments.superposition import superposition
from toylab.lab import job, preview
from toylab.sweep import describe


def asked(page, *texts, zips=(), seeds=None, **options):
    description = describe.with_texts(describe.Description(scale="smoke"), describe.from_texts(texts, zips, seeds))
    return job.job(page, description, **options)


def preview_text(job):
    return "\n".join(preview.lines(job))


def test_runs_programs_groups_points_and_what_is_kept_are_counted(tmp_path):
    texts = "optimizer.weight_decay=0.1:3:log4", "net.d_mlp=16,32"
    output = preview_text(asked(grokking, *texts, seeds=40, out=tmp_path))
    assert "320 runs at scale smoke" in output
    assert "320 in 2 groups of at most 160, 2 programs to compile" in output
    assert "320 in 4 groups of at most 100, 2 programs" in preview_text(
        asked(grokking, *texts, seeds=40, out=tmp_path, group=100)
    )
    assert "2 in 1 group of at most 2, 1 program to compile" in preview_text(
        asked(grokking, "data_seed=0,1", out=tmp_path)
    )
    assert "12 saved of each run, steps 0 to 200" in output
    assert "W_E, W_K" in output and "train_loss" in output and "probes" not in output
    width = min(160, 256 * jax.local_device_count())
    assert f"1 to {width} runs wide, chosen by a short measurement" in output


def test_bytes_are_those_that_are_asked_of_the_disk_and_the_device(tmp_path, monkeypatch):
    one = asked(grokking, out=tmp_path, lane=1)
    (spec,) = one.specs().values()
    assert f"at most {preview.size(sweep.bytes_needed(one.configs[''], spec))};" in preview_text(one)
    assert "1 run wide, as --lane says" in preview_text(one)
    monkeypatch.setattr(preview.memory, "budget", lambda: 1_000_000)
    output = preview_text(asked(grokking, seeds=8 * jax.local_device_count(), out=tmp_path))
    assert re.search(r"(it|this machine) has 1 MB, enough for about [1-7]: --lane [1-7] or less is safe", output)
    monkeypatch.setattr(preview.memory, "budget", lambda: 1_000)
    assert preview_text(one).count(" has 1 kB, too little for 1 run\n") == 1


def test_a_config_that_cannot_be_traced_does_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(preview.memory, "traced", lambda *_: 1 / 0)
    output = preview_text(asked(grokking, "net.d_mlp=16,32", out=tmp_path))
    assert "memory    unknown: a run cannot be traced (division by zero)" in output and "2 programs" in output


def test_each_part_of_a_page_is_reported(tmp_path):
    output = preview_text(asked(superposition, out=tmp_path))
    assert [line for line in output.splitlines() if line.startswith("part")] == [
        f"part {n}:" for n in superposition.PARTS
    ]


@pytest.mark.parametrize("form", ["texts", "file"])
def test_a_dry_run_creates_nothing_and_compiles_no_step(form, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "run", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.toml").write_text(
        'experiment = "grokking"\nscale = "smoke"\nset.optimizer.lr = "1e-4:1e-2:log3"'
    )
    texts = [*SMOKE, "--set", "optimizer.lr=1e-4:1e-2:log3"]
    arguments = texts if form == "texts" else ["--sweep", str(tmp_path / "in" / "s.toml")]
    before = tree(tmp_path)
    assert run_sweep.main([*arguments, "--seeds", "2", "--dry-run", "--out", str(tmp_path / "out")]) == 0
    assert "6 runs at scale smoke" in capsys.readouterr().out and tree(tmp_path) == before


def test_a_sweep_that_exists_shows_its_width_and_how_far_it_is(tmp_path, capfd):
    page = ["superposition", "--scale", "smoke", "--part", "forms"]
    arguments = [*page, "--lane", "1", "--stage", "train", "--out", str(tmp_path)]
    assert run_sweep.main(arguments) == 0
    before = tree(tmp_path)
    capfd.readouterr()
    assert run_sweep.main([*(text for text in arguments if text not in ("--lane", "1")), "--dry-run"]) == 0
    output = capfd.readouterr().out
    assert "1 wide, as the sweep was begun" in output
    assert "done      2 runs finished\n" in output
    assert "optimizer.lr: 0.003 → 0.5" in refused([*arguments, "--set", "optimizer.lr=0.5", "--dry-run"], capfd)
    assert tree(tmp_path) == before


def test_ever_more_runs_are_traced_no_more_often(tmp_path, monkeypatch):
    """What is done for each run is only to make and check its config: 10,000 take seconds."""
    traced = []
    shape = jax.eval_shape
    monkeypatch.setattr(jax, "eval_shape", lambda *given: traced.append(given) or shape(*given))
    counts = []
    for n in (2, 2, 300):  # nets are held against their task once, at the first
        traced.clear()
        texts = f"optimizer.lr=1e-4:1e-2:log{n}", "net.d_mlp=16,32"
        assert f"{2 * n} in {2 * -(-n // 256)} groups" in preview_text(asked(grokking, *texts, out=tmp_path))
        counts.append(len(traced))
    assert counts[1] == counts[2] < 15 * 2 and counts[0] < 20 * 2  # programs
