"""Irreps: homomorphisms, orthogonal, complete; known characters; the names of the published tables."""

import json

import numpy as np
import pytest

from toylab.analysis.groups import irreps
from toylab.tasks import cayley

GROUPS = [
    *(("cyclic", n) for n in (2, 3, 8, 31, 113)),
    *(("dihedral", n) for n in (3, 4, 6, 11, 59)),
    *(("symmetric", n) for n in (2, 3, 4, 5)),
    *(("alternating", n) for n in (3, 4, 5, 6)),
    pytest.param("symmetric", 6, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("group", "n"), GROUPS)
def test_irreps_are_verified_for_every_group(group, n):
    reps = irreps.representations(group, n)
    errors = irreps.verify(reps)
    assert errors.homomorphism < 1e-6 and errors.orthogonality < 1e-6 and errors.dimensions == 0
    g = cayley.order(group, n)
    assert sum(irrep.rank for irrep in reps.irreps) == g and len(set(reps.names)) == len(reps.irreps)
    np.testing.assert_allclose(reps.basis.T @ reps.basis, np.eye(g), atol=1e-6)
    for irrep in reps.irreps:
        np.testing.assert_allclose(irrep.matrices[0], np.eye(irrep.dimension), atol=1e-12)
        norm = (irrep.character**2).mean()  # 1 if irreducible over ℂ, 2 if of complex type
        assert norm == pytest.approx(2 if irrep.kind == "complex" else 1, abs=1e-9)


def test_a_wrong_irrep_is_found():
    reps = irreps.representations("symmetric", 3)
    standard = reps.irreps[-1]
    turned = standard._replace(
        matrices=np.where(np.arange(6)[:, None, None] == 3, -standard.matrices, standard.matrices)
    )
    assert irreps.verify(reps._replace(irreps=(*reps.irreps[:-1], turned))).homomorphism > 1
    assert irreps.verify(reps._replace(irreps=(*reps.irreps[:-1], reps.irreps[1]))).orthogonality > 0.5
    assert irreps.verify(reps._replace(irreps=reps.irreps[:-1])).dimensions == -4


def test_known_characters():
    s5 = irreps.representations("symmetric", 5)
    images = cayley.permutations("symmetric", 5)
    fixed = (images == np.arange(5)).sum(axis=1)
    character = dict(zip(s5.names, s5.characters, strict=True))
    np.testing.assert_allclose(character["standard"], fixed - 1, atol=1e-9)
    np.testing.assert_allclose(character["standard_sign"], (fixed - 1) * cayley.signs(images), atol=1e-9)
    five_cycle = [tuple(p) for p in images].index((1, 2, 3, 4, 0))
    transposition = [tuple(p) for p in images].index((1, 0, 2, 3, 4))
    assert [round(character[name][transposition]) for name in ("s5_5d_a", "s5_5d_b", "s5_6d")] == [-1, 1, 0]
    assert round(character["s5_6d"][five_cycle]) == 1
    a5 = irreps.representations("alternating", 5)
    at = [tuple(p) for p in cayley.permutations("alternating", 5)].index((1, 2, 3, 4, 0))
    golden = (1 + 5**0.5) / 2  # a5_3d_a turns (01234) by 72°
    assert [a5.irreps[a5.names.index(f"a5_3d_{x}")].character[at] for x in "ab"] == pytest.approx([golden, 1 - golden])


def test_another_numbering_permutes_the_matrices():
    images = cayley.permutations("symmetric", 4)
    other = np.random.default_rng(1).permutation(24)
    reps = irreps.representations("symmetric", 4, tuple(map(tuple, images[other].tolist())))
    plain = irreps.representations("symmetric", 4)
    for own, known in zip(reps.irreps, plain.irreps, strict=True):
        np.testing.assert_allclose(own.matrices, known.matrices[other], atol=1e-12)
    assert irreps.verify(reps).homomorphism < 1e-6


def test_names_are_those_of_the_published_tables(reference):
    published = json.loads((reference / "published_numbers.json").read_text())["chughtai"]
    names = {
        key: set(irreps.representations(group, n).names)
        for key, group, n in (("C113", "cyclic", 113), ("S5", "symmetric", 5), ("A5", "alternating", 5))
    }
    assert published and all(set(model["key_reps"]) <= names[run.split("_")[0]] for run, model in published.items())
