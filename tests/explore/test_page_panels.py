"""The panels of the page as models: runs, measures, analyzers, claims, messages, and that no text becomes HTML."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import ButtonClick
from bokeh.models import DataTable, Div, MultiChoice, Select
from bokeh.resources import INLINE
from opened_page import opened, widget
from swept_recording import EVIL, VIEWS, Swept

from toylab.explore.page.page import Page
from toylab.explore.page.panels.claims import closest
from toylab.explore.page.panels.runs import shortened


def test_measures_go_to_the_browser_run_by_run():
    page = opened()
    sent = page._curves.measures.data["m1"].reshape(12, 21)
    np.testing.assert_allclose(sent, page.recording.measures["test_loss"], rtol=1e-6)  # float32
    assert set(page._curves.measures.data) == {"m0", "m1", "m2", "there"}
    assert list(page._curves.steps.data["step"]) == list(page.recording.steps)
    assert widget(page, MultiChoice, "Measures").value == ["m0", "m1"]


def test_of_very_many_points_some_are_sent_the_last_among_them_and_it_is_said(monkeypatch):
    monkeypatch.setattr("toylab.explore.page.panels.curves.ALL_VALUES", 12 * 3 * 11)
    page = opened()
    assert list(page._curves.steps.data["at"]) == list(range(0, 21, 2))
    assert "Of the 21 saved points every 2th is in the curves." in page._head.messages.text


def test_columns_that_vary_come_first_and_the_others_on_demand():
    page = opened()
    table = page.roots["runs"].select_one({"type": DataTable})
    assert [column.visible for column in table.columns] == [True] * 6 + [False]
    assert page._runs.columns.data["label"][0] == "optimizer.weight_decay"
    assert page._runs.columns.data["label"][-1] == "optimizer.lr"
    assert widget(page, Select, "Colour by").value == "c0"
    assert widget(page, Select, "Across").value == "c0" and widget(page, Select, "Upwards").value == "c1"


class Analyzers:
    """What computes on demand, in place of the real one."""

    names = ("fve", EVIL)

    def __init__(self) -> None:
        self.asked, self.requests = [], {}

    def ask(self, name, runs, at) -> None:
        if at == [3]:
            raise ValueError(f"no point there: {EVIL}")
        self.asked.append((name, runs, at))
        self.requests[name] = SimpleNamespace(name=name, done=1, points=[0] * 9, state="computes", message="")

    def cancel(self) -> None:
        for request in self.requests.values():
            request.state = "cancelled"


def press(button) -> None:
    button._trigger_event(ButtonClick(button))


def test_an_analyzer_is_asked_for_the_selected_runs_and_followed():
    recording = Swept()
    recording.on_demand = Analyzers()
    page = opened(recording)
    panel = page._analyses
    assert panel.model.visible and [name for name, _ in panel.name.options] == ["fve", EVIL]
    press(panel.button)
    page._runs.source.selected.indices = [5, 2]
    panel.steps.value = "here"
    press(panel.button)
    assert recording.on_demand.asked == [("fve", None, None), ("fve", [5, 2], [20])]
    assert "fve: 1 of 9 points" in panel.note.text and panel.cancel.visible
    press(panel.cancel)
    assert "fve: cancelled, 1 points." in panel.note.text and not panel.cancel.visible
    page.slider.value = 3
    press(panel.button)
    assert "no point there: &lt;script&gt;" in panel.note.text
    assert not opened()._analyses.model.visible


def test_what_is_chosen_stays_when_measures_join():
    page = opened()
    widget(page, MultiChoice, "Measures").value = ["m1"]
    widget(page, Select, "Value at the step").value = "m0"
    page.recording.scalars = ["accuracy", *page.recording.scalars]
    page.recording.measures["accuracy"] = np.ones((12, 21))
    page.refresh()
    assert widget(page, MultiChoice, "Measures").value == ["m2"]
    assert widget(page, Select, "Value at the step").value == "m1"
    np.testing.assert_allclose(
        page._curves.measures.data["m2"], page.recording.measures["test_loss"].ravel(), rtol=1e-6
    )


def test_names_are_shortened_where_no_other_ends_so():
    assert shortened(["a.lr", "b.lr", "a.wd"]) == {"a.lr": "a.lr", "b.lr": "b.lr", "a.wd": "wd"}


def test_messages_stand_in_a_status_region():
    page = opened()
    page.say("Training goes on.")
    text = page._head.messages.text
    assert text.startswith('<div role="status" aria-live="polite"><p>Training goes on.</p>')
    page.recording.messages = [f"message {i}." for i in range(9)]
    page.refresh()
    assert "4 more messages." in page._head.messages.text  # 10 are said, 6 shown
    page.say("")
    assert "3 more messages." in page._head.messages.text
    assert "Training goes on." not in page._head.messages.text


def test_a_recording_without_weights_says_why_and_shows_the_measures():
    recording = Swept()
    recording.shapes, recording.no_params = [{}] * 12, "There is no folder runs/."
    page = opened(recording)
    assert "There is no folder runs/." in page._head.messages.text
    assert page._views.absent.visible and "Absent without weights: " in page._views.absent.text
    assert "matrix" not in page._views.shown  # it would repeat what the head says


def test_a_recording_of_no_runs_opens():
    recording = Swept(n_runs=0)
    page = opened(recording)
    assert page.panels == {} and page.slider.value == 20


def test_claims_have_the_number_of_their_figure_among_those_of_all_parts():
    first = Swept(n_runs=2)
    page = opened(parts={"one": first, "two": Swept(n_runs=2)})
    assert 'href="figure/1" target="_blank">circles close' in page._claims.table.text
    widget(page, Select, "Part").value = "two"
    assert 'href="figure/3" target="_blank">circles close' in page._claims.table.text
    assert "href" not in opened(live=False)._claims.table.text
    assert closest("test loss at its highest", ["circles", "loss curves"]) == "loss curves"


def test_a_claim_of_few_fields_is_shown():
    recording = Swept()
    recording.claims = [{}]
    assert "<td>–</td>" in opened(recording)._claims.table.text


def test_no_text_of_a_run_becomes_html():
    page = opened()
    for root in page.roots.values():
        for div in root.select({"type": Div}):
            assert "<script>" not in div.text
        for choice in root.select({"type": MultiChoice}):
            assert all("<script>" not in label for _, label in choice.options)
    table = page.roots["runs"].select_one({"type": DataTable})
    assert all("<script>" not in column.title for column in table.columns)


def test_the_exported_page_holds_no_script_of_a_run():
    document = Document()
    Page({"": Swept()}, VIEWS, live=False).add_to(document)
    text = file_html(document, INLINE, title=document.title, template=document.template)
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "http-equiv" not in text.split("</head>")[1]


def test_two_thousand_runs_are_one_table():
    page = opened(Swept(n_runs=2000, n_steps=5), live=False)
    assert len(page._runs.source.data["name"]) == 2000 and len(page.run_select.options) == 2000
