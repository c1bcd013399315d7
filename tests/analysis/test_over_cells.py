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


def test_correlation_is_pearsons_and_free_of_scale():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 20)).astype(np.float32)
    found = over_cells.correlation(x, y)
    np.testing.assert_allclose(found, [np.corrcoef(*pair)[0, 1] for pair in zip(x, y, strict=True)], rtol=0, atol=1e-5)
    np.testing.assert_allclose(over_cells.correlation(1e-25 * x, -1e25 * y), -found, rtol=0, atol=1e-5)
    assert np.isnan(over_cells.correlation(np.full(3, 0.1, np.float32), [1.0, 2, 3]))


def test_ranks_correlate_with_their_place():
    """Ties stand at their mean: of 1, 2, 2 the ranks are 0, 1.5, 1.5."""
    found = over_cells.rank_correlation([[[1.0, 5, 7], [3, 2, 1]], [[1, 2, 2], [4, 4, 4]]])
    np.testing.assert_allclose(found, [[1, -1], [0.75**0.5, np.nan]])
    assert np.isnan(over_cells.rank_correlation([1.0, np.nan, 3]))


def test_the_lowest_run_of_each_set():
    losses = [5.0, 1, np.nan, 0, 3, 2, np.nan]
    assert over_cells.lowest_in_sets(losses, [0, 1, 2, 3]).tolist() == [3]
    assert over_cells.lowest_in_sets(losses, [1, 0, 5, 4, 2], 3).tolist() == [1, 5, 2]  # of 2, 2 and 1 runs
    assert over_cells.lowest_in_sets(losses, [2, 6]).tolist() == [2]
    with pytest.raises(ValueError, match="n_sets is 3"):
        over_cells.lowest_in_sets(losses, [0, 1], 3)


def test_kinds_of_solutions_switch_where_their_lowest_losses_cross():
    """In each set of two runs: 4 → 1 against a loss of 2 cross half-way; in the second set the kinds never change."""
    first = np.array([[4.0, 1], [np.nan, 9], [1, 1], [1, 1]])
    second = np.array([[2.0, 2], [5, np.nan], [2, 2], [np.nan, 2]])
    found = over_cells.switch([1.0, 4], second, first, 2)
    np.testing.assert_allclose(found, [2, np.nan])
    found = over_cells.switch([1.0, 4], first, second, 2)
    assert np.isnan(found).all()  # the second kind leads from the start
    with pytest.raises(ValueError, match="n_sets is 3"):
        over_cells.switch([1.0, 4], first, second, 3)


def test_the_rarer_kind_beside_a_switch():
    first = np.where([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]], 1.0, np.nan)
    second = np.where(np.isnan(first), 1.0, np.nan)
    np.testing.assert_allclose(over_cells.rarer_share([1.0, 2, 4], first, second, [3.0, np.nan]), [0.5, 0.25])
    np.testing.assert_allclose(over_cells.rarer_share([1.0, 2, 4], first, second, [np.nan]), [0, 0.5])
    np.testing.assert_allclose(over_cells.rarer_share([1.0, 2, 4], first, second, [9.0]), [0.5, 0.25])


def test_a_table_has_the_run_of_each_row_and_column():
    rows, columns = np.array([1, 0, 1, 0, 0, 1]), np.array([0.5, 2, 2, 0.5, -1, -1])
    np.testing.assert_array_equal(over_cells.table(rows, columns), [[4, 3, 1], [5, 0, 2]])
    for runs, found in (([0, 1, 2], 0), ([0, 1, 2, 3, 4, 5, 5], 2)):
        with pytest.raises(ValueError, match=rf"^a cell has {found} runs: it must have one$"):
            over_cells.table(rows[runs], columns[runs])


def test_no_runs_make_no_table_and_no_cells():
    with pytest.raises(ValueError, match="0 runs"):
        over_cells.table(np.zeros(0), np.zeros(0))
    assert over_cells.cells(np.zeros((0, 2))) == []
