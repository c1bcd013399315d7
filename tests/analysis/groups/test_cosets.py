"""Subgroups of known number, and functions that are constant on cosets."""

import jax
import numpy as np
import pytest

from toylab.analysis.groups import cosets
from toylab.tasks import cayley

S4 = cayley.table("symmetric", 4)


@pytest.mark.parametrize(
    ("group", "n", "number"), [("cyclic", 12, 6), ("dihedral", 6, 16), ("symmetric", 4, 30), ("alternating", 5, 59)]
)
def test_all_subgroups_are_found(group, n, number):
    table = cayley.table(group, n)
    found = cosets.subgroups(table)
    assert len(found) == number and found[0].sum() == 1 and found[-1].all()
    assert all(len(table) % size == 0 for size in found.sum(axis=1))
    cosets.cosets(table, found)  # refuses what is not closed


def test_a_function_constant_on_cosets_is_concentrated_on_them():
    found = cosets.cosets(S4)
    rng = np.random.default_rng(0)
    i = int(np.flatnonzero(found.sizes == 6)[0])  # of a point's stabiliser: left and right cosets differ
    x = np.stack([rng.standard_normal(4)[found.right[i]], rng.standard_normal(24)], axis=1)
    right, left = cosets.concentration(x, found.right), cosets.concentration(x, found.left)
    assert right[i, 0] == pytest.approx(1) and left[i, 0] < 0.9
    assert cosets.largest(right, found.sizes).tolist() == [i, -1]
    sign = cayley.signs(cayley.permutations("symmetric", 4))[:, None].astype(float)
    assert found.sizes[cosets.largest(cosets.concentration(sign, found.left), found.sizes)[0]] == 12


def test_cosets_of_k_hold_k_minus_1_dimensions():
    """Over an orthonormal basis of the functions of mean 0 the shares add up to k − 1: chance is (k − 1)/(g − 1)."""
    found = cosets.cosets(S4)
    with jax.enable_x64():
        basis = np.linalg.svd(np.eye(24) - 1 / 24)[0][:, :23]
        shares = cosets.concentration(basis, found.left)
        np.testing.assert_allclose(shares.sum(axis=1), 24 / found.sizes - 1, atol=1e-9)
        x = np.random.default_rng(0).standard_normal((24, 1))  # the measure of the paper's code
        i = 7
        within = sum(x[found.left[i] == k].var(ddof=1) for k in range(24 // found.sizes[i]))
        h = found.sizes[i]
        ratio = (1 - cosets.concentration(x, found.left)[i, 0]) * 23 / (h - 1)
        assert ratio == pytest.approx(within / x.var(ddof=1))


def test_what_is_no_subgroup_is_refused():
    with pytest.raises(ValueError, match=r"^which\[0\] has 3 elements: it must be a subgroup"):
        cosets.cosets(S4, np.arange(24)[None] < 3)
    with pytest.raises(ValueError, match=r"^the group has 360 elements: all subgroups are listed for at most 120"):
        cosets.subgroups(cayley.table("alternating", 6))
