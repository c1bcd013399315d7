import numpy as np
import pytest

from toylab.analysis import over_cells


def test_runs_of_a_cell_have_equal_keys():
    key = np.array([[2.0, 1], [1, 1], [2, 1], [1, 0]])
    found = over_cells.cells(key)
    assert [cell.tolist() for cell in found] == [[3], [1], [0, 2]]
    with pytest.raises(ValueError, match="key has nan"):
        over_cells.cells(np.array([[np.nan], [1.0]]))


def test_shares_of_classes():
    np.testing.assert_array_equal(
        over_cells.class_shares([[0, 2, 2, 2], [1, 1, 0, 0]]), [[0.25, 0, 0.75], [0.5, 0.5, 0]]
    )


def test_a_stretch_ends_where_it_first_breaks():
    """Series: holds twice, then breaks and holds again; never; always."""
    holds = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [1, 0, 1]], bool)
    np.testing.assert_allclose(over_cells.end_of_stretch([1.0, 4, 9, 16], holds), [6, np.nan, np.nan])


def test_a_crossing_is_found_between_two_points():
    x = np.log([1.0, 2, 4])
    assert over_cells.crossing(x, [-3.0, -1, 1]) == pytest.approx(8**0.5)
    assert np.isnan(over_cells.crossing(x, [1.0, 2, 3])) and np.isnan(over_cells.crossing(x, [-1.0, np.nan, 3]))


def test_ranks_correlate_with_their_place():
    """Ties stand at their mean: of 1, 2, 2 the ranks are 0, 1.5, 1.5."""
    found = over_cells.rank_correlation([[[1.0, 5, 7], [3, 2, 1]], [[1, 2, 2], [4, 4, 4]]])
    np.testing.assert_allclose(found, [[1, -1], [0.75**0.5, np.nan]])
    assert np.isnan(over_cells.rank_correlation([1.0, np.nan, 3]))
