"""A gallery of polytopes: edges join neighbours, text is apart and can be printed."""

import numpy as np
import pytest
from handmade import polygon, solid
from printed import assert_printable

from toylab.plots.superposition import polytopes


def test_edges_join_neighbours_alone():
    assert polytopes.edges(polygon(5)).tolist() == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]]
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    assert len(polytopes.edges(octahedron)) == 12 and [0, 3] not in polytopes.edges(octahedron).tolist()
    assert len(polytopes.edges(np.array([[1.0, 0], [-1, 0]]))) == 0
    assert len(polytopes.edges(np.array([[1.0, 0], [0, 1], [0.1, 0.1]]))) == 1  # the third is not learned


def test_a_gallery_can_be_printed():
    shapes = [polygon(5), solid("square antiprism"), np.concatenate([np.eye(3), -np.eye(3)]), polygon(3), polygon(4)]
    titles = ["pentagon\n$n$ = 5, $m$ = 2: 10 of 10", "square antiprism", "octahedron", "triangle", "square"]
    assert_printable(polytopes.gallery(shapes, titles))
    assert_printable(polytopes.gallery(shapes[:1], titles[:1]))
    with pytest.raises(ValueError, match="one title for each model"):
        polytopes.gallery(shapes, titles[:2])
