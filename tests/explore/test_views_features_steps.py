"""Views of superposition from step to step: axes that stay, pictures of one form, also of a run that diverged."""

import numpy as np
import pytest
from viewed_recording import of_features, values

from toylab.explore.pictures import Bars, Graph, Table
from toylab.explore.views.superposition import dimensionality, gram, graph, plane, polytope

EVERY = (plane, gram, dimensionality, polytope, graph)


def turned(W, angle):
    """W turned in the plane of its first two dimensions."""
    found = W.copy()
    found[:, 0], found[:, 1] = (
        W[:, 0] * np.cos(angle) - W[:, 1] * np.sin(angle),
        W[:, 0] * np.sin(angle) + W[:, 1] * np.cos(angle),
    )
    return found


def test_principal_axes_neither_turn_nor_flip_between_steps():
    """Features that turn through a whole circle in 100 steps move smoothly; their own principal axes would flip."""
    rng = np.random.default_rng(1)
    W = (rng.normal(size=(12, 5)) * [3, 2.9, 1, 0.5, 0.2]).astype(np.float32)
    angles = np.linspace(0, 2 * np.pi, 101)
    recording, kept = of_features(*(turned(W, angle) for angle in angles)), {}
    every = [plane.pictures(recording.moment(at, kept=kept), axes="principal")[0] for at in range(101)]
    points = np.stack([[dots.x, dots.y] for dots in every])
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1)
    # the axes are fixed, so nothing moves further than its feature does: |W_i| 2 sin(δ/2); the rest is float32
    assert (moved <= np.linalg.norm(W, axis=1) * 2 * np.sin(angles[1] / 2) * (1 + 1e-4)).all()
    assert moved.max() > 0.5 * np.linalg.norm(W[:, :2], axis=1).max() * angles[1]
    own = np.stack([turned(W, a) @ np.linalg.svd(turned(W, a))[2][:2].T for a in angles])
    assert np.linalg.norm(np.diff(own, axis=0), axis=2).max() > 10 * moved.max()  # which is what the test is for
    assert every[0].x_label == "principal axis 1 of step 1000, at every step"
    # the plane is the best one of the last point
    share = (points[-1] ** 2).sum() / (W**2).sum()
    assert share == pytest.approx((np.linalg.svd(W)[1] ** 2)[:2].sum() / (W**2).sum(), rel=1e-5)
    assert f"{share:.0%} of ‖W‖² in this plane" in every[-1].title


def test_the_last_points_weights_are_read_once():
    recording, kept = of_features(*np.random.default_rng(0).normal(size=(6, 8, 4)).astype(np.float32)), {}
    for at in range(5):
        plane.pictures(recording.moment(at, kept=kept))
    assert recording.reads == 6


def test_chosen_axes():
    W = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    moment = of_features(W).moment()
    (dots,) = plane.pictures(moment, axes="chosen", across=3, up=1)
    np.testing.assert_array_equal(np.stack([dots.x, dots.y]), W[:, [3, 1]].T)
    assert (dots.x_label, dots.y_label) == ("dimension 3", "dimension 1")
    with pytest.raises(ValueError, match="dimensions are 4 and 1: they must lie in 0 to 3"):
        plane.pictures(moment, axes="chosen", across=4, up=1)


def test_one_hidden_dimension():
    moment = of_features(np.array([[1], [-1]], np.float32)).moment()
    (dots,) = plane.pictures(moment, **values(plane, moment))
    assert dots.x.tolist() == [1, -1] and dots.y.tolist() == [0, 0]


@pytest.mark.parametrize("view", EVERY, ids=lambda view: view.name)
def test_pictures_are_of_one_form_at_every_step(view):
    """Also where a run has diverged: blank, and it says so."""
    rng = np.random.default_rng(0)
    good = rng.normal(size=(2, 6, 3)).astype(np.float32)
    recording, kept = of_features(*good, np.full((6, 3), np.nan, np.float32), np.full((6, 3), np.inf, np.float32)), {}
    forms = []
    for at in range(4):
        moment = recording.moment(at, kept=kept)
        pictures = view.pictures(moment, **values(view, moment))
        forms.append([(type(one), _shape(one)) for one in pictures])
        assert ("not finite" in pictures[0].title) == (at > 1)
    assert all(form == forms[0] for form in forms)
    if view is plane:
        axes = "principal axis 1 of step 10, at every step"  # the last finite point
        assert plane.pictures(recording.moment(0, kept=kept))[0].x_label == axes


def _shape(picture):
    if isinstance(picture, Table):
        return tuple(picture.columns)
    if isinstance(picture, Graph):
        return len(picture.x), len(picture.edges)
    if isinstance(picture, Bars):
        return picture.heights.shape
    return picture.values.shape


def test_an_unfinished_run_has_its_own_last_point():
    recording = of_features(*np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32))
    recording.valid[0, 2] = False
    assert plane.pictures(recording.moment(0))[0].x_label == "principal axis 1 of step 10, at every step"
