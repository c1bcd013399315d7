"""Sweeps in words: the command line's texts and a TOML file say the same, and what is wrong is named with its place."""

import pytest

from toylab import configs as cfg
from toylab.experiments.grokking import grokking
from toylab.sweep import describe

BASE = grokking.CONFIGS["smoke"]

FILE = """
experiment = "grokking"
scale = "smoke"
seeds = 2
[set]
optimizer.weight_decay = "0.1:3:log4"
task.op = ["add", "subtract"]
[[zip]]
net.d_model = [16, 32]
net.d_mlp = "32,64"
"""


def described(text, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return describe.from_file(path)


def test_a_file_and_the_command_line_describe_the_same_sweep(tmp_path):
    of_file = described(FILE, tmp_path)
    texts = ["optimizer.weight_decay=0.1:3:log4", "task.op=add,subtract"]
    of_texts = describe.from_texts(texts, [["net.d_model=16,32", "net.d_mlp=32,64"]], 2)
    one = of_file.configs(BASE)
    two = describe.with_texts(describe.Description(), of_texts).configs(BASE)
    assert (of_file.experiment, of_file.scale, len(one)) == ("grokking", "smoke", 4 * 2 * 2 * 2)
    assert list(map(cfg.digest, one)) == list(map(cfg.digest, two))
    assert {(c.net.d_model, c.net.d_mlp) for c in one} == {(16, 32), (32, 64)}


def test_chained_blocks_are_a_union_each_with_what_stands_above_them(tmp_path):
    chain = """
    seeds = 2
    set.optimizer.lr = 0.01
    [[chain]]
    set.task.op = "add"
    [[chain]]
    set."task.op" = "subtract"
    zip = [{ net.d_model = [16, 32], net.d_mlp = [32, 64] }, { optimizer.weight_decay = [1, 2], task.n_train = [90, 80] }]
    """
    configs = described(chain, tmp_path).configs(BASE)
    found = [(c.task.op, c.net.d_model, c.task.n_train, int(c.seed)) for c in configs]
    assert found[:2] == [("add", 16, 100, 0), ("add", 16, 100, 1)]
    assert found[2:] == [("subtract", d, n, seed) for d in (16, 32) for n in (90, 80) for seed in (0, 1)]
    assert {float(c.optimizer.lr) for c in configs} == {float(cfg.check(configs[0]).optimizer.lr)}


def test_the_command_line_multiplies_the_files_fields_and_replaces_its_seeds(tmp_path):
    of_file = described('seeds = 5\n[[chain]]\nset.task.op = "add"\n[[chain]]\nset.task.op = "subtract"', tmp_path)
    both = describe.with_texts(of_file, describe.from_texts(["optimizer.lr=1,2"], [], 3))
    assert len(both.configs(BASE)) == 2 * 2 * 3
    with pytest.raises(ValueError, match=r"task\.op is set twice"):
        describe.with_texts(described('set.task.op = "add"', tmp_path), describe.from_texts(["task.op=add"], [], None))


def test_the_command_line_goes_before_the_file(tmp_path):
    of_file = described(FILE, tmp_path)
    chosen = describe.with_choices(of_file, experiment=None, scale="cpu", parts=["a"])
    assert (chosen.experiment, chosen.scale, chosen.parts) == ("grokking", "cpu", ("a",))
    with pytest.raises(ValueError, match="describes a sweep of grokking, not of markov"):
        describe.with_choices(of_file, experiment="markov", scale=None, parts=[])
    with pytest.raises(ValueError, match="experiment is missing"):
        describe.with_choices(describe.Description(), experiment=None, scale=None, parts=[])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds = 2\n[set\n", r"sweep\.toml, line 2, column 5: "),
        ("seeds = 2\nset.a = [1,\n", r"sweep\.toml, line \d, column \d+: "),
        ("seeds = 1\nseeds = 2", r"sweep\.toml, line 2, column \d+: Cannot overwrite a value"),
        ("sed = 2", r"sweep\.toml: sed is no key: did you mean seeds\?"),
        ("[grid]\nseed = 1", r"grid is no key: known are experiment, scale, part, set, zip, seeds, chain"),
        ("[[chain]]\nexperiment = 'a'", r"experiment is no key: known are set, zip, seeds"),
        ("seeds = 0", r"seeds is 0: give a whole number of at least 1"),
        ("seeds = true", r"seeds is True"),
        ("seeds = 1.5", r"seeds is 1\.5"),
        ("scale = 3", r"scale is 3: give a text"),
        ("part = [1]", r"part is \[1\]: give the name"),
        ("set = 3", r"set is 3: give a table"),
        ("", r"sweep\.toml: it describes nothing: give at least one of experiment"),
        ("# nothing\n", r"it describes nothing"),
        ("[set]", r"set is empty: give a field"),
        ("zip = []", r"zip is empty: give it an entry"),
        ("[[zip]]", r"zip is empty: give it an entry"),
        ("chain = []", r"chain is empty: give it an entry"),
        ("part = []", r"part is \[\]: give the name"),
        ("[zip]\nseed = [1]", r"zip is no list of tables: write it as \[\[zip\]\]"),
        ("set.seed = 1979-05-27", r"seed is .*: give numbers, texts"),
        ("set.seed = [[1]]", r"seed is \[\[1\]\]: give numbers, texts"),
        ('set."optimizer.lr" = 1\nset.optimizer.lr = 2', r"optimizer\.lr is set twice"),
        ('set.optimizer.lr = 2\nset."optimizer.lr" = 1', r"optimizer\.lr is set twice"),
        ("seeds = 2\nset.seed = 1", r"seed is set twice"),
        ("set.optimizer.lr = 1\n[[zip]]\noptimizer.lr = [2]", r"optimizer\.lr is set twice"),
        ("set.optimizer.lr = 1\n[[chain]]\nset.optimizer.lr = 2", r"optimizer\.lr is set twice"),
    ],
)
def test_a_bad_file_is_reported_in_one_sentence_with_its_place(text, words, tmp_path):
    with pytest.raises(ValueError, match=words) as error:
        described(text, tmp_path)
    assert "\n" not in str(error.value) and "sweep.toml" in str(error.value)


def test_a_file_that_cannot_be_read_or_is_no_text_is_refused(tmp_path):
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ValueError, match="it cannot be read"):
            describe.from_file(path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    with pytest.raises(ValueError, match=r"latin\.toml is no TOML: byte 2 is no UTF-8"):
        describe.from_file(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\\b"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ValueError, match="has no slash"):
        describe.check_name("part", name)


def test_the_example_in_the_docstring_is_one(tmp_path):
    _, text = (describe.__doc__ or "").split("\n\n", 1)
    example = described(text, tmp_path)
    assert example.experiment == "grokking" and len(example.configs(grokking.CONFIGS["cpu"])) == 8 * 2 * 2 * 3
