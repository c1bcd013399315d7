"""Cayley tables, and composition in a group as a task."""

import jax
import numpy as np
import pytest

from toylab import configs
from toylab.analysis.groups import irreps
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.tasks import GroupComposition, cayley

SMALL = [("cyclic", 6), ("cyclic", 7), ("dihedral", 3), ("dihedral", 4), ("symmetric", 4), ("alternating", 4)]


@pytest.mark.parametrize(("group", "n"), SMALL)
def test_tables_are_groups(group, n):
    table = cayley.table(group, n)
    g = cayley.order(group, n)
    assert table.shape == (g, g) and cayley.neutral(table) == 0
    np.testing.assert_array_equal(table[table], table[:, table])  # (ab)c = a(bc)
    np.testing.assert_array_equal(table[np.arange(g), cayley.inverses(table)], 0)
    assert all(np.array_equal(np.sort(lines, axis=1), np.tile(np.arange(g), (g, 1))) for lines in (table, table.T))
    assert (table == table.T).all() == (group == "cyclic")


def test_a_reflection_turns_a_rotation_round():
    table, n = cayley.table("dihedral", 5), 5
    r, s = 1, n
    assert table[table[s, r], s] == cayley.inverses(table)[r] and table[s, s] == 0 and table[r, s] == r + n


def test_permutations_act_in_turn_and_may_be_numbered_otherwise():
    images = cayley.permutations("alternating", 4)
    np.testing.assert_array_equal(images[cayley.table("alternating", 4)[3, 5]], images[5][images[3]])
    other = np.random.default_rng(0).permutation(len(images))
    table = cayley.table("alternating", 4, tuple(map(tuple, images[other].tolist())))
    np.testing.assert_array_equal(other[table], cayley.table("alternating", 4)[np.ix_(other, other)])


def composition(**changes):
    net = Net.of(ModularMLP, d_vocab=12, d_vocab_out=12, d_model=8, d_mlp=8)
    task = GroupComposition(group="alternating", n=4, n_train=100)
    return Config(task=task.replace(**changes), net=net, optimizer=AdamW())


def test_a_task_has_every_pair_once_and_the_groups_table():
    task = configs.check(composition()).task
    data = task.data(jax.random.key(0))
    a, b, equals = np.asarray(data["tokens"]).T
    table = cayley.table("alternating", 4)
    np.testing.assert_array_equal(data["labels"], table)
    assert (equals == 12).all() and len({*zip(a.tolist(), b.tolist(), strict=True)}) == 144
    np.testing.assert_array_equal(data["train_labels"], table.reshape(-1)[np.asarray(data["train"])])
    assert not (data["train_mask"] & data["test_mask"]).any() and int(data["train_mask"].sum()) == 100
    ordered = task.replace(order=np.arange(144)[::-1]).check().data(jax.random.key(0))
    assert np.asarray(ordered["train"]).min() == 44


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"group": "klein"}, r"^task\.group is 'klein': it must be one of cyclic"),
        ({"n": 7}, r"^task\.n is 7: a alternating group's must be a whole number from 3 to 6\.$"),
        ({"n_train": 145}, r"^task\.n_train is 145: it must lie between 1 and 144"),
        ({"n": 5}, r"^net\.d_vocab is 12: the order of task\.group alternating with n = 5 = 60 needs at least 60"),
        ({"order": np.zeros(144, int)}, r"^task\.order is no permutation of the 144 pairs"),
    ],
)
def test_what_is_no_group_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        configs.check(composition(**changes))
    with pytest.raises(ValueError, match=r"^elements has shape \(1, 4\): it must list each of the 12"):
        cayley.table("alternating", 4, ((0, 1, 2, 3),))


def test_elements_may_be_lists_or_an_array():
    """As JSON has them, and as numpy does: the same tables and irreps, from the same caches."""
    elements = ((0, 1, 2), (0, 2, 1), (1, 2, 0), (1, 0, 2), (2, 0, 1), (2, 1, 0))
    wanted = cayley.table("symmetric", 3, elements)
    for given in ([list(images) for images in elements], list(elements), np.array(elements)):
        np.testing.assert_array_equal(cayley.table("symmetric", 3, given), wanted)
        assert irreps.representations("symmetric", 3, given) is irreps.representations("symmetric", 3, elements)
    for wrong in (3, [1, 2], "abc", [[0, 1, 2], [0, 1]]):
        with pytest.raises(ValueError, match=r"^elements (is|has)"):
            irreps.representations("symmetric", 3, wrong)
