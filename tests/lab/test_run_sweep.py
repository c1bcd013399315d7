"""The command line: what is asked for is what runs, and nonsense gets one sentence, status 2 and nothing on disk."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import PAGE, SMOKE, own_settings, refused, settings_kept, tree  # noqa: F401

import run_sweep
from toylab import configs as cfg
from toylab import sweep, train
from toylab.cli.run import commit_of
from toylab.experiments.grokking import grokking
from toylab.lab import measuring, preview, stages

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds of the smoke run, trained and not analysed."""
    out = tmp_path_factory.mktemp("trained")
    with settings_kept():
        assert run_sweep.main([*SMOKE, "--seeds", "2", "--stage", "train", "--out", str(out)]) == 0
    return out


def python(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )


# --- before jax


READ = (
    "import ast, pathlib; [ast.parse(page.read_text('utf-8')) for page in pathlib.Path('experiments').glob('*/*.py')]"
)


@pytest.mark.parametrize("option", ["--list", "--help"])
def test_the_listing_takes_little_more_than_reading_the_pages(option):
    def cpu_seconds(*arguments):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = python(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    output = python("run_sweep.py", option).stdout
    assert "grokking" in output and "memorises" in output
    listing, reading = (min(cpu_seconds(*call) for _ in range(3)) for call in (("run_sweep.py", option), ("-c", READ)))
    assert listing < 4 * reading


def test_the_listing_imports_nothing_heavy():
    code = """
import sys, run_sweep
run_sweep.main(["--list"])
try:
    run_sweep.main(["--help"])
except SystemExit:
    print("heavy:", sorted({"jax", "numpy", "flax", "matplotlib", "orbax", "rich"} & set(sys.modules)))
"""
    assert python("-c", code).stdout.splitlines()[-1] == "heavy: []"


def test_no_experiment_gives_the_listing(capsys):
    assert run_sweep.main([]) == 0
    pages = [path.stem for path in (REPOSITORY / "experiments").glob("*/*.py") if path.stem != "__init__"]
    assert all(page in capsys.readouterr().out for page in pages[:1]) and pages


def test_an_experiment_that_an_option_has_swallowed_is_missed(capfd):
    assert "--set grokking: give a field and its values" in refused(["--set", "seed=1", "grokking"], capfd)
    assert "experiment is missing" in refused(["--part", "one", "superposition"], capfd)


# --- bad input

BAD = [
    # the experiment
    (["groking"], r"'groking' is not known: did you mean grokking\?"),
    (["quantum"], r"'quantum' is not known: `toylab list` names the \d+ that there are"),
    (["__init__"], r"'__init__' is not known"),
    (["../grokking"], r"there is no file \.\./grokking: give the path of a page"),
    (["--part", "a/../b"], r"part is 'a/\.\./b': a name has no slash"),
    (["--from", "..@5"], r"--from is '\.\.@5': it must be RUN@STEP"),
    # fields
    (
        ["--set", "optimizer.weight_decy=1"],
        r"optimizer\.weight_decy is no field: did you mean optimizer\.weight_decay\?",
    ),
    (["--set", "optimiser.lr=1"], r"optimiser\.lr is no field: did you mean optimizer\.lr\?"),
    (["--set", "net.d_modl=64"], r"net\.d_modl is no field: did you mean net\.d_model\?"),
    (["--set", "sed=1"], r"sed is no field: did you mean seed\?"),
    (["--set", "xyz=1"], r"xyz is no field: known are task\.p, task\.n_train, "),
    (["--set", "task.p.q=1"], r"task\.p\.q is no field: p has no parts"),
    (["--set", "net=1"], r"net is '1', which is no class of its kind: it must be one of .*Transformer"),
    (["--set", "task.order=1,2"], r"task\.order cannot be set from the command line"),
    # types
    (["--set", "task.p=abc"], r"task\.p is 'abc': it must be a whole number"),
    (["--set", "task.p=7.5"], r"task\.p is '7\.5': it must be a whole number"),
    (["--set", "seed=1.5"], r"seed is '1\.5': it must be a whole number"),
    (["--set", "optimizer.lr=fast"], r"optimizer\.lr is 'fast': it must be a number"),
    (["--set", "optimizer.lr=nan"], r"optimizer\.lr is nan: it must be a number"),
    (["--set", "optimizer.lr=inf"], r"optimizer\.lr is inf: it must be a number"),
    (["--set", "net.layer_norm=maybe"], r"net\.layer_norm is 'maybe': it must be true or false"),
    (["--set", "task.op=plus"], r"task\.op is 'plus': .*it must be one of add, subtract"),
    (["--set", "net.activation=rleu"], r"net\.activation is 'rleu': did you mean relu\?"),
    (["--set", "seed=99999999999"], r"seed is .*99999999999"),
    (["--set", f"seed={'9' * 400}"], r"seed is 9*: it must be a whole number within"),
    # values
    (["--set", "task.op=divide", "task.p=12"], r"task\.p is 12: it must be prime for op divide"),
    (["--set", "task.n_train=0"], r"task\.n_train is 0: it must lie between 1 and 169"),
    (["--set", "task.n_train=170"], r"task\.n_train is 170: it must lie between 1 and 169"),
    (["--set", "task.n_train=-3"], r"task\.n_train is -3"),
    (["--set", "task.p=1"], r"task\.p is 1: it must lie between 2 and 1024"),
    (["--set", "task.p=17", "task.n_train=200"], r"net\.d_vocab is 14: task\.p = 17 needs"),
    (["--set", "task.corruption=1.5"], r"task\.corruption is 1\.5: it must lie in \[0, 1\]"),
    (["--set", "net.n_heads=3"], r"net\.d_model is 16: it must be divisible by net\.n_heads, which is 3"),
    (["--set", "net.n_heads=0"], r"net\.n_heads is 0: it must be at least 1"),
    (["--set", "net.d_model=0"], r"net\.d_model is 0: it must be at least 1"),
    (["--set", "net.init_scale=0"], r"net\.init_scale is 0\.0: it must be above 0"),
    (["--set", "net.readout=all"], r"net\.readout is 'all'"),
    (["--set", "optimizer.weight_decay=-1"], r"optimizer\.weight_decay is -1\.0: it must be .*at least 0"),
    (["--set", "optimizer.lr=0.5,-2"], r"optimizer\.lr is -2\.0: it must be .*at least 0"),
    (["--set", "optimizer.lr=1e-3,-1e-3"], r"optimizer\.lr is -0\.001: it must be .*at least 0"),
    (["--set", "optimizer.b1=1"], r"optimizer\.b1 is 1\.0: it must lie in \[0, 1\)"),
    # lists and grids
    (["--set", "optimizer.lr="], r"--set optimizer\.lr=: give a field and its values"),
    (["--set", "=1"], r"--set =1: give a field and its values"),
    (["--set", "optimizer.lr"], r"--set optimizer\.lr: give a field and its values"),
    (["--set", "optimizer.lr=1,,2"], r"--set optimizer\.lr=1,,2: give a field and its values"),
    (["--set", "optimizer.lr=1,1.0"], r"1 duplicate config"),
    (["--set", "seed=1,2,1"], r"1 duplicate config"),
    (["--set", "optimizer.lr=1", "optimizer.lr=2"], r"--set names optimizer\.lr twice"),
    (["--set", "optimizer.lr=1:0.1:log3"], r"optimizer\.lr: the range 1:0\.1:log3 goes from 1 to 0\.1"),
    (["--set", "optimizer.lr=-1:1:log3"], r"starts at -1: a constant ratio needs numbers above 0"),
    (["--set", "optimizer.lr=-1:1:lin3"], r"optimizer\.lr is -1\.0: it must be .*at least 0"),
    (["--set", "task.n_train=2:4:lin9"], r"has only 3 different whole numbers"),
    (["--zip", "net.d_model=16,32", "net.d_mlp=32"], r"as many values each: net\.d_model has 2, net\.d_mlp has 1"),
    (["--zip", "net.d_mlp=16,32", "--set", "net.d_mlp=8"], r"net\.d_mlp is set twice"),
    (["--zip", "net.d_mlp"], r"--zip net\.d_mlp: give a field and its values"),
    (["--seeds", "0"], r"--seeds is 0: give at least 1"),
    (["--seeds", "2", "--set", "seed=1"], r"--seeds is 2"),
    (["--seeds", "99999999999"], r"seeds is 99,999,999,999: 1,000,000 runs are the most"),
    (["--lane", "0"], r"--lane is 0: it must be at least 1"),
    (["--saves", "x"], r"--saves is x: give how many, as 200, or the steps, as 0,100,1000"),
    (["--saves", "0:1000:300"], r"--saves is 0:1000:300: .*must ascend from 0 to 1000 in equal steps"),
    (["--saves", "100:0:10"], r"--saves is 100:0:10: .*must ascend from 100 to 0 in equal steps"),
    (["--saves", "0:100000:1"], r"--saves is 0:100000:1: .*has 100,001 values: give at most 10,000"),
    (["--saves", "0:100:0"], r"--saves is 0:100:0: .*must ascend"),
    (["--saves", "2"], r"--saves is 2: give at least 4 points"),
    (["--saves", "0,5,5"], r"--saves is 0,5,5: the steps must ascend from 0 on"),
    (["--saves=-1,5"], r"--saves is -1,5: the steps must ascend"),
    (["--saves", "0,5", "--steps", "7"], r"--saves ends at step 5, and --steps is 7: give one of them"),
    (["--saves", "0,99999999999"], r"saves are .*: they must be ascending step numbers"),
    (["--distributed", "x"], r"^--distributed is 'x': it must be HOST:PORT,N,I"),
    (["--group", "0"], r"--group is 0: it must be at least 1"),
    # where to start
    (["--from", "1a2b"], r"--from is '1a2b': it must be RUN@STEP"),
    (["--from", "1a2b@"], r"--from is '1a2b@': it must be RUN@STEP"),
    (["--from", "1a2b@x"], r"--from is '1a2b@x': it must be RUN@STEP"),
    (["--from", "1a2b@-5"], r"--from is '1a2b@-5': it must be RUN@STEP"),
    (["--from", "@5"], r"--from is '@5': it must be RUN@STEP"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=str)
def test_bad_input_gets_one_sentence_status_2_and_nothing_is_created(arguments, words, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = [] if not arguments[0].startswith("--") else PAGE
    assert re.search(words, refused([*page, *arguments], capfd))
    assert tree(tmp_path) == {}


def test_training_on_all_pairs_is_possible():
    """The task's rule lets n_train be p²: then there is no test set, and its measures are nan."""
    config = cfg.check(cfg.override(grokking.CONFIGS["smoke"][0], "task.n_train", "169"))
    _, trajectory = jax.eval_shape(train.advance, config, jax.eval_shape(train.init, config), np.array([0, 5]))
    assert trajectory.measures["test_loss"].shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scale", "huge"], "--scale: invalid choice: 'huge'"),
        (["--stage", "plot"], "--stage: invalid choice: 'plot'"),
        (["--lane", "x"], "--lane: invalid int value: 'x'."),
        (["--seed", "3"], "--seed is no option: did you mean --seeds?"),  # not three runs
        (["--dry"], "--dry is no option: did you mean --dry-run?"),
        (["--quiet"], "--quiet is no option: --help lists them."),
        (["--tensor"], "--tensor is no option"),
        (["-seeds", "3"], "-seeds is no option: did you mean --seeds?"),
        (["markov"], "'markov' is one word too many."),
        (["--seeds"], "--seeds: expected one argument."),
        (["--seeds", "2", "--seeds", "3"], "--seeds is given twice: give it once."),
        (["--out=a", "--out=b"], "--out is given twice"),
        (["--steps", "9", "--steps", "9"], "--steps is given twice"),
        (["--out="], "--out: it is empty."),
        (["--from="], "--from: it is empty."),
        (["--cluster="], "--cluster: it is empty."),
        (["--distributed="], "--distributed: it is empty."),
        (["--sweep="], "--sweep: it is empty."),
        (["--list"], "--list stands alone."),
        (["--join", "--cluster", "local"], "--cluster: not allowed with argument --join."),
    ],
    ids=str,
)
def test_options_that_are_unknown_cut_short_or_given_twice_end_with_a_sentence_and_status_2(
    arguments, words, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_sweep.main(["grokking", *arguments])
    output = capfd.readouterr()
    assert ended.value.code == 2 and output.out == "" and output.err.startswith(words) and output.err.count("\n") == 1
    assert tree(tmp_path) == {}


def test_no_parser_of_the_tree_takes_an_option_that_is_cut_short():
    files = [
        path
        for path in [
            *REPOSITORY.glob("*.py"),
            *(REPOSITORY / "toylab").rglob("*.py"),
            *REPOSITORY.glob("benchmarks/*.py"),
        ]
    ]
    made = [line for path in files for line in path.read_text().splitlines() if "ArgumentParser(" in line]
    assert len(made) > 5
    for line in made:
        assert "allow_abbrev=False" in line or line == "class Parser(argparse.ArgumentParser):"


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        (stage, arguments)
        for stage in ("analyze", "draw")
        for arguments in (
            ["--steps", "9"],
            ["--saves", "9"],
            ["--from", "1a2b@5"],
            ["--tensorboard"],
            ["--wandb"],
            ["--cluster", "local"],
            ["--dry-run"],
        )
    ],
    ids=str,
)
def test_an_option_of_training_is_refused_where_nothing_is_trained(stage, arguments, trained, capfd):
    before = tree(trained)
    output = refused(["grokking", "--scale", "smoke", "--stage", stage, *arguments, "--out", trained], capfd)
    assert output == f"{arguments[0]} is for training: leave it out with --stage {stage}.\n" and tree(trained) == before


@pytest.mark.parametrize("stage", ["analyze", "draw", "train"])
@pytest.mark.parametrize("option", ["--lane", "--group"])
def test_a_lane_or_group_other_than_the_sweeps_is_refused_at_every_stage(option, stage, trained, capfd):
    before = tree(trained)
    words = {"--lane": "lane: 1 → 2", "--group": "--group is 1, and"}[option]
    asked = ["grokking", "--scale", "smoke", "--seeds", "2", "--stage", stage, "--out", trained]
    output = refused([*asked, option, {"--lane": "2", "--group": "1"}[option]], capfd)
    assert words in output and "choose another --out" in output and tree(trained) == before
    if stage == "train":
        assert words in refused([*asked, option, {"--lane": "2", "--group": "1"}[option], "--dry-run"], capfd)
        assert tree(trained) == before


def test_what_is_drawn_is_of_the_runs_and_parts_that_are_asked_for(tmp_path, capfd):
    committed = ["grokking", "--scale", "cpu", "--stage", "draw", "--out", tmp_path]
    (tmp_path / "grokking").mkdir()
    shutil.copy(REPOSITORY / "results" / "grokking" / "measures.npz", tmp_path / "grokking")
    assert "measures.npz is of 20 runs, not 2: run the stages before" in refused([*committed, "--seeds", "2"], capfd)
    assert "--lane is for training, and" in refused([*committed, "--lane", "1"], capfd)
    assert list(tree(tmp_path)) == ["grokking", "grokking/measures.npz"]


def test_bad_input_is_reported_from_the_shell_too(tmp_path):
    done = python("run_sweep.py", "grokking", "--set", "optimizer.weight_decy=1", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout, tree(tmp_path)) == (2, "", {})
    assert done.stderr == "optimizer.weight_decy is no field: did you mean optimizer.weight_decay?\n"


# --- the folder


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_out_that_is_a_file_is_refused(out, tmp_path, capfd):
    (tmp_path / "file").write_text("mine")
    assert "file, which is a file: give a folder" in refused([*SMOKE, "--out", tmp_path / out], capfd)
    assert tree(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("out", "stage", "words", "status"),
    [
        ("file", "draw", "is not there: run the stage before", 1),
        ("x" * 300, "train", "File name too long", 2),
        ("a[b]", "train", "a[b]", 2),
    ],
    ids=["file", "long", "brackets"],
)
def test_a_folder_that_cannot_be_is_reported_in_one_sentence(out, stage, words, status, tmp_path, capfd, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert words in refused([*SMOKE, "--stage", stage, "--out", out], capfd, status)
    assert tree(tmp_path) == {"file": b"mine"}


def test_out_that_is_not_writable_is_refused(tmp_path, capfd, monkeypatch):
    (tmp_path / "out").mkdir(mode=0o555)
    if os.access(tmp_path / "out", os.W_OK):  # root may write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "out")
    assert "out, which is not writable" in refused([*SMOKE, "--out", tmp_path / "out"], capfd)
    assert tree(tmp_path) == {"out": None}


def test_out_that_is_a_link_to_nowhere_is_refused(tmp_path, capfd):
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    assert "out" in refused([*SMOKE, "--out", tmp_path / "out"], capfd)


def test_a_disk_too_small_is_refused_with_both_sizes(tmp_path, capfd, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5000, 5000))
    output = refused([*SMOKE, "--out", tmp_path / "out"], capfd)
    assert "5 kB free: this sweep needs " in output and "MB" in output.split("needs ")[1]
    assert tree(tmp_path) == {}


# --- resuming and the folder of others


CHANGED = {
    "leaf": (["--set", "optimizer.lr=2e-3", "--seeds", "2"], r"optimizer.lr: 0.001 → 0.002"),
    "size": (["--set", "net.d_mlp=16", "--seeds", "2"], r"net.d_mlp: 32 → 16"),
    "later run": (["--set", "seed=0,5"], r"seed: 1 → 5"),
    "fewer runs": (["--seeds", "1"], r"runs: 2 → 1"),
    "lane": (["--seeds", "2", "--lane", "2"], r"lane: 1 → 2"),
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    CHANGED.values(),
    ids=CHANGED,
)
def test_resuming_with_another_config_names_what_differs(arguments, words, trained, capfd):
    before = tree(trained)
    page = PAGE if "--lane" in arguments else SMOKE
    assert words in refused([*page, *arguments, "--stage", "train", "--out", trained], capfd)
    assert tree(trained) == before


HOLD = """
import sys, time
from pathlib import Path
from toylab import store
with store.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_in_the_same_folder_is_refused(trained, capfd):
    (group,) = (path.parent for path in (trained / "grokking" / "runs").glob("*/manifest.json"))
    before = tree(trained)
    command = [sys.executable, "-c", HOLD, str(group)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        output = refused([*SMOKE, "--seeds", "2", "--out", trained], capfd)
        holder.kill()
    assert f"in use by process {holder.pid}" in output
    assert tree(trained) == before


def test_training_again_goes_on_from_the_end(trained, capfd):
    chunks = {name: content for name, content in tree(trained).items() if "/runs/" in name}
    assert run_sweep.main([*SMOKE, "--seeds", "2", "--stage", "train", "--out", str(trained)]) == 0
    assert {name: content for name, content in tree(trained).items() if "/runs/" in name} == chunks


def test_a_stop_asked_for_while_the_last_points_are_trained_is_heeded(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sweep, "run", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    assert run_sweep.main([*SMOKE, "--out", str(tmp_path)]) == 130
    output = capfd.readouterr().err
    assert "is trained to its end. To go on: python run_sweep.py grokking" in output
    assert [path.name for path in (tmp_path / "grokking").iterdir()] == ["runs"]


def test_a_stop_outside_of_training_is_one_sentence(trained, capfd, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "analyze", stopped)
    output = refused([*SMOKE, "--seeds", "2", "--stage", "analyze", "--out", trained], capfd, status=130)
    assert output.startswith("stopped. To go on: python run_sweep.py grokking")


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(grokking) == "unknown"


# --- grids


@pytest.fixture
def asked(monkeypatch):
    """What the sweep is asked to train, without training it."""
    calls = []
    monkeypatch.setattr(sweep, "run", lambda configs, spec, folder, **options: calls.append((configs, spec, options)))
    monkeypatch.setattr(stages, "write_manifest", lambda *_: None)
    return calls


def test_a_grid_is_the_product_of_its_fields(asked, tmp_path):
    grid = ["--set", "optimizer.lr=1e-3,3e-3", "net.init_scale=1,0.5", "--seeds", "2"]
    assert run_sweep.main([*SMOKE, *grid, "--stage", "train", "--out", str(tmp_path)]) == 0
    configs, _, options = asked[0]
    found = {(float(c.optimizer.lr), float(c.net.init_scale), int(c.seed)) for c in configs}
    assert found == {(float(np.float32(lr)), scale, s) for lr in (1e-3, 3e-3) for scale in (1.0, 0.5) for s in (0, 1)}
    assert len(configs) == 8 and options["lane"] == 1


def test_set_may_be_given_again_or_with_several_fields(asked, tmp_path):
    for fields in (
        ["--set", "optimizer.lr=1,2", "seed=3,4"],
        ["--set", "optimizer.lr=1,2", "--set", "seed=3,4"],
    ):
        assert run_sweep.main([*SMOKE, *fields, "--stage", "train", "--out", str(tmp_path)]) == 0
    (first, *_), (second, *_) = asked
    assert len(first) == 4 and sweep.groups(first).keys() == sweep.groups(second).keys()


@pytest.mark.parametrize("scale", ["cpu", "paper"])
def test_seeds_replace_those_of_the_page(scale, asked, tmp_path):
    arguments = ["grokking", "--scale", scale, "--seeds", "3", "--stage", "train", "--out", str(tmp_path)]
    assert run_sweep.main(arguments) == 0
    configs, spec, options = asked[0]
    assert [int(config.seed) for config in configs] == [0, 1, 2]
    assert options["lane"] is None and spec.saves[-1] > 10_000


@pytest.mark.slow
def test_a_field_that_is_set_takes_the_place_of_the_pages_own_values(asked, tmp_path):
    fields = ["--set", "task.n_train=40,50", "optimizer.weight_decay=1", "--seeds", "2"]
    arguments = ["grokking_phase", "--part", "plane", "--scale", "cpu", *fields, "--stage", "train"]
    assert run_sweep.main([*arguments, "--out", str(tmp_path)]) == 0
    assert sorted((config.task.n_train, int(config.seed)) for config in asked[0][0]) == [
        (40, 0),
        (40, 1),
        (50, 0),
        (50, 1),
    ]


def test_steps_end_training_where_a_point_is_saved(asked, tmp_path):
    own = [int(step) for step in grokking.SAVES["smoke"]]
    for last in (7, 199, 200, 201, 215, 300, 999_999):
        assert run_sweep.main([*SMOKE, "--steps", str(last), "--stage", "train", "--out", str(tmp_path)]) == 0
        saves = asked[-1][1].saves
        assert saves[-1] == last and saves == sorted(set(saves)) and len(saves) <= 2 * len(own) + 1
        assert [step for step in saves if step <= 200] == sorted({*own, last} & set(range(min(last, 200) + 1)))
    assert saves[len(own)] - saves[len(own) - 1] == saves[-2] - saves[-3]  # evenly beyond the page's own
    assert run_sweep.main([*SMOKE, "--steps", "0", "--out", str(tmp_path)]) == 2
    assert run_sweep.main([*SMOKE, "--steps", str(2**31), "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("arguments", "saves"),
    [
        (["--saves", "0,10,100,1000"], [0, 10, 100, 1000]),
        (["--saves", "0:1000:lin3", "--steps", "1000"], [0, 500, 1000]),
        (["--saves", "0:1000:250"], [0, 250, 500, 750, 1000]),
        (["--saves", "0,1:100:log3,200"], [0, 1, 10, 100, 200]),
        (["--saves", "8"], list(sweep.log_then_linear(10, 200, 8))),
        (["--saves", "8", "--steps", "5000"], list(sweep.log_then_linear(10, 5000, 8))),
        (["--saves", "50", "--steps", "5"], [0, 1, 2, 3, 4, 5]),
    ],
    ids=str,
)
def test_saves_take_the_place_of_the_pages(arguments, saves, asked, tmp_path):
    assert run_sweep.main([*SMOKE, *arguments, "--stage", "train", "--out", str(tmp_path)]) == 0
    assert asked[-1][1].saves == saves


@pytest.mark.slow
def test_a_sweep_is_trained_longer_from_where_it_was_finished(tmp_path, capfd):
    asked = [*SMOKE, "--steps", "20", "--stage", "train", "--out", str(tmp_path)]
    assert run_sweep.main(asked) == 0
    longer = [*SMOKE, "--steps", "40", "--stage", "train", "--out", str(tmp_path)]
    capfd.readouterr()
    assert run_sweep.main([*longer, "--dry-run"]) == 0
    output = capfd.readouterr().out
    assert "1 run at step 20, from step 20 on" in output and "finished" not in output and "steps 0 to 40" in output
    assert run_sweep.main(longer) == 0
    (straight,) = (tmp_path / "straight",)
    assert run_sweep.main([*SMOKE, "--steps", "40", "--stage", "train", "--out", str(straight)]) == 0
    (one,), (two,) = (sweep.load(folder / "grokking" / "runs") for folder in (tmp_path, straight))
    assert one.steps[-1] == two.steps[-1] == 40
    for name, value in one.params.items():
        assert (value[:, -1] == two.params[name][:, -1]).all()
    capfd.readouterr()
    assert run_sweep.main([*longer, "--dry-run"]) == 0 and "1 run finished\n" in capfd.readouterr().out
    assert run_sweep.main([*asked, "--dry-run"]) == 0  # as training will do
    assert "trains to step 40, as it was begun" in capfd.readouterr().out


def test_a_dry_run_refuses_a_folder_as_training_would(tmp_path, capfd):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "which is a file" in refused([*SMOKE, "--dry-run", "--out", tmp_path / "file"], capfd)
    assert "a link to nowhere" in refused([*SMOKE, "--dry-run", "--out", tmp_path / "link"], capfd)
    assert "a[b" in refused([*SMOKE, "--dry-run", "--out", tmp_path / "a[b"], capfd)


def test_results_lie_below_the_scale_unless_it_is_that_of_the_paper(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for scale, folder in (("smoke", "results/smoke/grokking/runs"), ("paper", "results/grokking/runs")):
        assert run_sweep.main(["grokking", "--scale", scale, "--stage", "train"]) == 0
        assert (tmp_path / folder).is_dir()


# --- starting from another run


def one_run(trained, run=0):
    (group,) = (trained / "grokking" / "runs").glob("*/manifest.json")
    return next(iter(sweep.load(trained / "grokking" / "runs"))).runs[run], group.parent


def test_from_a_run_of_another_folder(trained, asked, tmp_path):
    run, _ = one_run(trained, 1)
    start = f"{trained}/grokking/{run}@200"
    assert run_sweep.main([*SMOKE, "--from", start, "--stage", "train", "--out", str(tmp_path)]) == 0
    spec = asked[0][1]
    (group,) = sweep.load(trained / "grokking" / "runs")
    assert spec.started_from == start
    for name, value in group.params.items():
        assert (spec.start[name] == value[1, -1]).all()


def test_from_a_bare_run_is_looked_for_below_results(trained, asked, tmp_path, monkeypatch):
    run, _ = one_run(trained)
    (tmp_path / "results").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preview, "lines", lambda *_: [])  # which sees that the runs there were not started from one
    for out in ("elsewhere", str(trained)):  # the latter is the same place by another name
        start = ["--seeds", "2", "--from", f"{run}@200", "--stage", "train", "--out", out]
        assert run_sweep.main([*SMOKE, *start]) == 0
        assert asked[-1][1].started_from == f"results/grokking/{run}@200"


def test_from_trains_on_from_there(trained, tmp_path):
    run, _ = one_run(trained)
    start = f"{trained}/grokking/{run}@200"
    assert run_sweep.main([*SMOKE, "--from", start, "--stage", "train", "--out", str(tmp_path)]) == 0
    (old,), (new,) = (sweep.load(folder / "grokking" / "runs") for folder in (trained, tmp_path))
    assert (new.params["W_E"][0, 0] == old.params["W_E"][0, -1]).all()


@pytest.mark.parametrize(
    ("start", "arguments", "words"),
    [
        ("{run}@7", [], "no point saved at step 7: the nearest is 10"),
        ("zzz@200", [], "holds 0 runs that start with 'zzz': it has"),
        ("{run}@200", ["--set", "net.d_mlp=16"], "its params do not fit this net (W_in, W_out, b_in differ)"),
    ],
)
def test_from_what_is_not_there_or_does_not_fit_is_refused(start, arguments, words, trained, tmp_path, capfd):
    start = f"{trained}/grokking/{start.format(run=one_run(trained)[0])}"
    assert words in refused([*SMOKE, *arguments, "--from", start, "--out", tmp_path / "out"], capfd)
    assert tree(tmp_path) == {}


def test_from_a_folder_that_is_not_there_is_bad_input(tmp_path, capfd):
    output = refused([*SMOKE, "--from", f"{tmp_path}/nowhere/1a2b@200", "--out", tmp_path / "out"], capfd)
    assert "names no run" in output and tree(tmp_path) == {}


def test_from_a_damaged_sweep_is_reported(tmp_path, capfd):
    group = tmp_path / "page" / "runs" / "000-1a2b"
    group.mkdir(parents=True)
    (group / "manifest.json").write_text("{}")
    output = refused([*SMOKE, "--from", f"{tmp_path}/page/1a2b@200", "--out", tmp_path / "out"], capfd, status=1)
    assert f"{group / 'manifest.json'} is damaged" in output and not (tmp_path / "out").exists()


def test_from_a_run_that_is_not_said_is_refused(trained, asked, tmp_path, capfd):
    start = f"{trained}/grokking/@200"
    output = refused([*SMOKE, "--from", start, "--stage", "train", "--out", tmp_path / "out"], capfd)
    assert "it must be RUN@STEP" in output and asked == []


# --- stages


@pytest.mark.parametrize(
    ("stage", "words"), [("analyze", "run the stage train first"), ("draw", "run the stage before it")]
)
def test_a_stage_before_its_turn_says_which_comes_first(stage, words, tmp_path, capfd):
    assert words in refused([*SMOKE, "--stage", stage, "--out", tmp_path / "out"], capfd, status=1)
    assert tree(tmp_path) == {}


def test_analysis_of_another_sweep_is_refused(trained, capfd):
    before = tree(trained)
    arguments = [*SMOKE, "--seeds", "2", "--set", "optimizer.lr=2e-3", "--stage", "analyze", "--out", trained]
    assert "optimizer.lr: 0.001 → 0.002" in refused(arguments, capfd)
    assert tree(trained) == before


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["--set", "seed=0,5"], "seed: 1 → 5", 2),
        (["--seeds", "1"], "runs: 2 → 1", 2),
        (["--seeds", "3"], "lacks 1 of the 2 groups", 1),
        (["--seeds", "2", "--set", "net.d_mlp=32,16"], "lacks 1 of the 2 groups", 1),
    ],
    ids=str,
)
def test_analysis_of_a_sweep_that_shares_only_its_first_runs_is_refused(
    arguments, words, status, trained, capfd, monkeypatch
):
    monkeypatch.setattr(measuring, "analyze_over_runs", analysed_at_no_cost)
    before = tree(trained)
    output = refused([*SMOKE, *arguments, "--stage", "analyze", "--out", trained], capfd, status=status)
    assert words in output and tree(trained) == before


def analysed_at_no_cost(fn, params, run, batch_size, report):
    """In place of minutes of compiling: the check of shapes stands."""
    if len(run.config.seed) != len(params["W_E"]):
        raise ValueError("its shapes are those of another sweep")
    raise AssertionError("analysed as if it were the same sweep")


def test_the_manifest_is_enough_to_run_it_again(trained):
    manifest = json.loads((trained / "grokking" / "manifest.json").read_text())
    assert manifest["command"].startswith("python run_sweep.py grokking --scale smoke")
    assert len(manifest["runs"]) == 2 and manifest["scale"] == "smoke"
    (group,) = manifest["groups"].values()
    assert group["plan"]["lane"] == 1 and group["environment"]["matmul_precision"] == "highest"
