"""What cannot be trained or saved is refused on shapes alone: nothing is allocated, and no other group is stopped."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from tiny_sweeps import A, tiny

import run_sweep
from toylab import configs, store, sweep
from toylab.models import ModularMLP, Net
from toylab.sweep import sizes

SPEC = sweep.Spec(saves=(0, 5))


class WithNothing(nnx.Module):
    """A network of a user, one of whose arrays may be empty."""

    def __init__(self, *, d_vocab: int, d_vocab_out: int, d_spare: int = 0, rngs: nnx.Rngs) -> None:
        self.W_E = nnx.Param(jax.random.normal(rngs.params(), (d_vocab, d_vocab)))
        self.W_spare = nnx.Param(jnp.zeros((d_vocab, d_spare)))

    def __call__(self, x, patch=None, full=True):
        return self.W_E[...][x[:, 0]], {}


def test_an_empty_array_is_reported_by_its_field():
    config = tiny(0)
    sizes.check_trainable(config, {})
    with pytest.raises(
        ValueError, match=r"^net\.d_spare is 0: W_spare would be \[7, 0\], an empty array, which cannot be"
    ):
        sizes.check_trainable(config.replace(net=Net.of(WithNothing, d_vocab=7, d_vocab_out=7)), {})
    with pytest.raises(ValueError, match=r"^probes/none/it would be \[1, 0\], an empty array, which cannot be saved"):
        sizes.check_trainable(config, {"none": lambda params, run: {"it": jnp.zeros(0)}})


def test_what_no_device_holds_is_not_allocated():
    """Nor is what would be done with it traced, layer by layer."""
    net = Net.of(ModularMLP, d_vocab=10**9, d_vocab_out=11, d_model=10**6, d_mlp=4)
    with pytest.raises(
        ValueError, match=r"^net\.d_vocab is 1000000000: its arrays would take 8e\+06 GB, and this machine has"
    ):
        configs.check(tiny(0).replace(net=net))
    with pytest.raises(ValueError, match=r"^net would have arrays of [\de+.]+ TB, and the device has "):
        sizes.check_trainable(tiny(0).replace(net=net), {})


def test_a_config_that_could_not_be_saved_stops_no_other_group(tmp_path):
    wrong = A.replace(net=Net.of(WithNothing, d_vocab=A.net.d_vocab, d_vocab_out=A.net.d_vocab))
    with pytest.raises(sweep.Failed) as failed:
        sweep.run([wrong, A], SPEC, tmp_path)
    assert "1 of 2 groups" in str(failed.value) and "net.d_spare is 0: W_spare would be" in str(failed.value)
    assert "make room" not in str(failed.value)
    (group,) = [group for group in sweep.load(tmp_path) if len(group.steps)]
    assert list(group.steps) == [0, 5]


@pytest.mark.parametrize(
    ("page", "setting"),
    [
        ("clock_pizza", "net.d_mlp=0"),
        ("grokking", "net.n_layers=1000000000"),
        ("grokking", "net.d_head=1000000000"),
        ("grokking", "net.d_model=-1"),
        ("grokking", "net.n_heads=3"),
        ("grokking", "net.n_layers=0"),
        ("grokking", "net.d_mlp=nan"),
        ("grokking", "net.causal=1"),
        ("grokking", "optimizer.lr=inf"),
        ("grokking", "task.n_train=[]"),
        ("grokking", "net.d_mlp=99999999999"),
    ],
)
def test_a_setting_that_nothing_can_be_made_of_is_refused_in_a_sentence(page, setting, tmp_path, capsys):
    arguments = [page, "--scale", "smoke", "--out", str(tmp_path / "out"), "--set", setting]
    assert run_sweep.main(arguments) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1 and len(output) < 400 and setting.partition("=")[0].split(".")[1] in output
    assert not list(tmp_path.iterdir())


def test_a_page_whose_analyses_need_what_was_switched_off_is_refused_in_a_sentence(tmp_path, capsys):
    arguments = [
        "superposition_dynamics",
        "--scale",
        "smoke",
        "--out",
        str(tmp_path / "out"),
        "--set",
        "net.bias=false",
    ]
    assert run_sweep.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["logs:", "a\udcff", 256 * "x"])
def test_a_name_that_no_folder_can_have_is_refused_in_a_sentence(name, tmp_path, capsys):
    assert run_sweep.main(["grokking", "--scale", "smoke", "--out", str(tmp_path / name)]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("--out leads to ") and err.count("\n") == 1 and not out
    assert not list(tmp_path.iterdir())
    with pytest.raises(store.Refused, match="--out leads to"):
        sweep.run([A], SPEC, tmp_path / name)
    assert not list(tmp_path.iterdir())
