"""The page as models: what it holds, what it draws when, what it says. In a browser: test_page_in_browser.py."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from bokeh.models import Select, Tabs
from opened_page import opened, widget
from swept_recording import EVIL, VIEWS, Swept

from toylab.explore import Bars, view
from toylab.explore.page.page import Page


def told(page: Page, name: str) -> str:
    """What is said beside a view."""
    return page._views.shown[name].note.text


def image(page: Page) -> np.ndarray:
    return page.panels["matrix"].sources[1].data["image"][0]


def test_the_page_has_the_roots_of_its_template_and_begins_at_the_end():
    page = opened()
    assert list(page.roots) == ["head", "runs", "curves", "sweep", "views", "claims"]
    assert (page.at, page.slider.value, page.slider.end) == (20, 20, 20)
    assert page.slider.title == f"step {page.recording.steps[-1]:,} (21 of 21)"
    np.testing.assert_array_equal(image(page), page.recording.expected(0, 20))


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Page({}, VIEWS, live=True)


@pytest.mark.parametrize("at", [-1, 21])
def test_a_point_that_is_not_there_is_refused(at):
    with pytest.raises(ValueError, match=f"at is {at}: the saved points are 0 to 20"):
        opened().show(at)


def test_the_slider_draws_the_visible_tab_alone():
    page = opened()
    assert set(page.panels) == {"matrix", "row"}
    page.slider.value = 3
    np.testing.assert_array_equal(image(page), page.recording.expected(0, 3))
    page.roots["views"].select_one({"type": Tabs}).active = 1
    assert "typed" in page.panels
    page.slider.value = 5
    np.testing.assert_array_equal(image(page), page.recording.expected(0, 3))


def test_without_a_server_everything_is_drawn_and_nothing_listens():
    page = opened(live=False)
    assert set(page.panels) == {"matrix", "row", "typed"}
    page.slider.value = 3
    assert page.at == 20
    page.show(3)
    np.testing.assert_array_equal(image(page), page.recording.expected(0, 3))


def test_colours_mean_the_same_at_every_step():
    page = opened()
    limits = set()
    for at in (0, 7, 20):
        page.show(at)
        head = page.panels["matrix"].sources[0].data
        limits.add((head["low"][0], head["high"][0]))
    greatest = float(np.abs(page.recording.expected(0, 20)).max())
    assert limits == {(-greatest, greatest)}


def test_data_of_a_point_are_what_the_panel_holds_there():
    page = opened()
    found = page.data("matrix", 4)
    page.show(4)
    for source, data in zip(page.panels["matrix"].sources, found, strict=True):
        for name, column in data.items():
            np.testing.assert_equal(list(source.data[name]), list(column))
    with pytest.raises(KeyError):
        page.data("absent everywhere", 4)


def test_another_run_is_looked_at():
    page = opened()
    models = {name: panel.model.id for name, panel in page.panels.items()}
    page.run_select.value = "2"
    np.testing.assert_array_equal(image(page), page.recording.expected(2, 20))
    assert {name: panel.model.id for name, panel in page.panels.items()} == models
    page.look(3)
    assert page.run_select.value == "3"
    np.testing.assert_array_equal(image(page), page.recording.expected(3, 20))


def test_a_run_without_a_point_there_is_shown_at_its_last_one_and_it_is_said():
    page = opened(Swept(short=6))
    page.run_select.value = "1"
    np.testing.assert_array_equal(image(page), page.recording.expected(1, 5))
    assert f"has no point at step {page.recording.steps[20]:,}" in page._views.note.text
    page.slider.value = 2
    assert page._views.note.text == ""


def test_where_there_is_no_point_the_views_of_another_run_are_not_left_there():
    page = opened()
    page.recording.valid[1] = False
    views = page.roots["views"]
    page.look(1)
    assert views.select_one({"type": Tabs}) is None
    assert "has no saved point yet." in views.children[1].text
    page.look(0)
    assert views.select_one({"type": Tabs}) is page._views.tabs
    page.show(2)
    np.testing.assert_array_equal(image(page), page.recording.expected(0, 2))


def test_a_part_without_a_point_shows_no_views_of_another_part():
    empty = Swept(n_steps=2)
    empty.steps, empty.valid = empty.steps[:0], empty.valid[:, :0]
    empty.measures = {name: values[:, :0] for name, values in empty.measures.items()}
    page = opened(parts={"one": Swept(), "two": empty})
    part, views = widget(page, Select, "Part"), page.roots["views"]
    part.value = "two"
    assert views.select_one({"type": Tabs}) is None and "has no saved point yet" in views.children[1].text
    part.value = "one"
    np.testing.assert_array_equal(image(page), Swept().expected(0, 20))
    assert views.select_one({"type": Tabs}) is page._views.tabs


def test_a_control_redraws_its_view():
    page = opened()
    page._views.shown["row"].model.select_one({"type": Select}).value = EVIL
    bars = page.panels["row"].sources[1].data["height"]
    np.testing.assert_array_equal(bars, -page.recording.expected(0, 20)[1])


def test_what_a_view_cannot_use_is_said_and_the_picture_stays():
    page = opened()
    page._views.tabs.active = 1
    (text,) = [one for one in page._views.shown["typed"].model.references() if getattr(one, "title", "") == "numbers"]
    text.value = "1 <b>"
    assert "numbers is &#x27;1 &lt;b&gt;&#x27;" in told(page, "typed") and 'role="alert"' in told(page, "typed")
    assert list(page.panels["typed"].sources[1].data["x"]) == [1.0, 2.0]
    text.value = "3"
    assert told(page, "typed") == "" and list(page.panels["typed"].sources[1].data["x"]) == [3.0]


def test_a_damaged_chunk_is_said_and_the_rest_goes_on():
    recording = Swept()
    recording.damaged = {4, 10}
    page = opened(recording)
    page.slider.value = 4
    assert f"the chunk of step {recording.steps[4]} is damaged." in told(page, "matrix")
    assert page.panels["matrix"].model.styles["opacity"] == "0.3"  # the picture is of another step
    page.slider.value = 5
    assert told(page, "matrix") == "" and page.panels["matrix"].model.styles["opacity"] == "1.0"
    np.testing.assert_array_equal(image(page), recording.expected(0, 5))


def test_a_view_that_lacks_something_says_it_one_that_fails_too_and_one_of_other_runs_is_not_there():
    page = opened(live=False)
    assert told(page, "absent") == '<span role="note">W_U is not recorded.</span>'
    assert "broken failed with ZeroDivisionError: division by zero" in told(page, "broken")
    assert "unexpected" not in page._views.shown
    assert [tab.title for tab in page._views.tabs.tabs] == ["small", "others"]


def test_a_view_whose_question_fails_is_told_too():
    @view("odd", family="odd", title="Odd", fits=lambda moment: 1 / 0)
    def odd(moment):
        return Bars(np.ones(1), "")

    assert "odd failed with ZeroDivisionError: division by zero" in told(opened(live=False, views=[odd]), "odd")


def test_a_recording_of_one_point_and_of_none_opens():
    assert not opened(Swept(n_steps=2)).slider.disabled
    recording = Swept(n_steps=2)
    recording.steps, recording.valid = recording.steps[:1], recording.valid[:, :1]
    recording.measures = {name: values[:, :1] for name, values in recording.measures.items()}
    np.testing.assert_array_equal(image(opened(recording)), recording.expected(0, 0))
    recording.steps, recording.valid = recording.steps[:0], recording.valid[:, :0]
    recording.measures = {name: values[:, :0] for name, values in recording.measures.items()}
    page = opened(recording)
    assert page.panels == {} and page.slider.disabled and page.slider.title == "no saved points"


def test_pictures_of_another_kind_get_a_panel_of_their_own():
    @view("changing", family="a", title="Changing")
    def changing(moment):
        return [Bars(np.ones(2), "")] * (1 if moment.at < 10 else 2)

    page = opened(views=[changing])
    assert len(page.panels["changing"].sources) == 4
    page.slider.value = 3
    assert len(page.panels["changing"].sources) == 2
    assert page._views.shown["changing"].model.children[-1] is page.panels["changing"].model


def test_refresh_keeps_the_selection_and_the_step_and_follows_the_end():
    page = opened()
    page._runs.source.selected.indices = [3, 1]
    page.recording.to(31)
    page.refresh()
    assert page._runs.source.selected.indices == [3, 1]
    assert (page.at, page.slider.value, page.slider.end) == (30, 30, 30)
    assert len(page._curves.measures.data["m0"]) == 12 * 31
    page.slider.value = 4
    step = page.recording.steps[4]
    page.recording.steps = np.insert(page.recording.steps, 2, 2)  # a point between those that there were
    for name, values in page.recording.measures.items():
        page.recording.measures[name] = np.insert(values, 2, np.nan, axis=1)
    page.recording.valid = np.insert(page.recording.valid, 2, False, axis=1)
    page.refresh()
    assert page.recording.steps[page.at] == step and page.slider.value == 5


def test_refresh_makes_no_new_tabs_nor_table_columns():
    page = opened()
    before = [tab.id for tab in page._views.tabs.tabs], [column.id for column in page._runs.table.columns]
    page.recording.to(31)
    page.refresh()
    assert ([tab.id for tab in page._views.tabs.tabs], [column.id for column in page._runs.table.columns]) == before


def test_another_part_takes_the_place_of_the_first():
    other = Swept(n_runs=3, n_steps=9)
    other.title, other.claims, other.figures = "other", [], {"third": "third.png"}
    page = opened(parts={"one": Swept(), "two": other})
    page._runs.source.selected.indices = [7]
    widget(page, Select, "Part").value = "two"
    assert page.title == "other" and page.slider.end == 8 and page.run == 0
    assert page._runs.source.selected.indices == [] and len(page._runs.source.data["name"]) == 3
    assert not page.roots["claims"].visible
    np.testing.assert_array_equal(image(page), other.expected(0, 8))
