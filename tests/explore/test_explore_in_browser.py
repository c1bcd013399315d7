"""The explorer in a real browser: what is drawn is what was trained, live and in an exported file without a network."""

import time

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from browser import chromium, file_url, offline_tab, tab
from served_recording import Small, matrix
from tiny_sweeps import PAIRS, A, B, C, trained

from toylab import sweep
from toylab.explore import Heatmap, open_folder, show, view
from toylab.explore.exporting import export
from toylab.explore.exporting.packing import ERROR
from toylab.explore.serving.server import Server
from toylab.explore.views import built_in
from toylab.sweep import Spec

pytestmark = pytest.mark.slow
assert chromium and offline_tab and tab  # fixtures
SAVES = (0, 1, 2, 5, 10, 20, 30)
LIMIT = 1.0


@view("rows", family="own", title="W_U", needs=("W_U",))
def rows(moment):
    return Heatmap(moment.params["W_U"], f"W_U at step {moment.step}", limit=LIMIT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs of an MLP that adds modulo 11, of which two are alike but for the learning rate."""
    found = tmp_path_factory.mktemp("sweep")
    trained(found, [A, B, C], saves=SAVES)
    return found


@pytest.fixture
def serve():
    """Serves recordings; what it began ends with the test, after the tab: name it before the tab."""
    begun = []

    def start(parts, views):
        begun.append(Server(parts, views))
        begun[-1].start()
        return begun[-1].url

    yield start
    for server in begun:
        server.stop()


@pytest.fixture
def trajectory(folder):
    """[run, point, …] of W_U, by the runs' names."""
    found = sweep.load(folder)
    return dict(zip(found.runs.tolist(), found.params["W_U"], strict=True))


def is_drawn(tab, values, tolerance=0.0):
    """Waits until the heat map has these numbers."""
    deadline = time.monotonic() + 10
    while len(drawn := tab.image()) != np.size(values) or np.abs(np.ravel(values) - drawn).max() > tolerance:
        assert time.monotonic() < deadline, f"{drawn[:4]} is drawn, not {np.ravel(values)[:4]}"
        tab.page.wait_for_timeout(30)


def looked_at(tab, names):
    """The name of the run that is looked at."""
    return str(names[int(tab.ask("all('Select').find((m) => m.title === 'Run looked at').value"))])


def test_the_step_is_set_by_keyboard_by_mouse_and_by_playing(serve, tab, folder, trajectory):
    parts = open_folder(folder)
    tab.open(serve(parts, [rows]))
    W_U = trajectory[looked_at(tab, parts[""].runs)]
    is_drawn(tab, W_U[-1])
    tab.handle().focus()
    tab.page.keyboard.press("ArrowLeft")
    is_drawn(tab, W_U[-2])
    assert tab.ask("step.title").startswith("step 20 ")
    tab.page.keyboard.press("Home")
    is_drawn(tab, W_U[0])
    box, track = tab.handle().bounding_box(), tab.page.locator(".step .noUi-base").first.bounding_box()
    y = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] / 2, y)
    tab.page.mouse.down()
    for share in (0.2, 0.4, 0.5):
        tab.page.mouse.move(track["x"] + share * track["width"], y)
    tab.page.mouse.up()
    tab.until("step.value === 3")
    is_drawn(tab, W_U[3])
    tab.page.get_by_role("button", name="Play").first.click()
    tab.until(f"step.value === {len(SAVES) - 1}")
    is_drawn(tab, W_U[-1])


def test_a_run_chosen_in_the_table_is_the_one_that_is_drawn(serve, tab, folder, trajectory):
    parts = open_folder(folder)
    tab.open(serve(parts, [rows]))
    name = tab.ask("all('ColumnDataSource').find((m) => m.data.name && m.data.colour).data.name[1]")
    tab.page.locator(".slick-row").nth(1).locator(".slick-cell").nth(1).click()
    tab.until("all('Select').find((m) => m.title === 'Run looked at').value === '1'")
    assert looked_at(tab, parts[""].runs) == name
    is_drawn(tab, trajectory[name][-1])


def test_what_training_commits_is_shown_within_5_seconds_and_the_selection_stays(serve, tab, tmp_path):
    trained(tmp_path, [A, B], saves=SAVES[:5])
    parts = open_folder(tmp_path)
    tab.open(serve(parts, [rows]))
    tab.page.locator(".slick-row").nth(1).locator(".slick-cell").nth(1).click()
    tab.until("all('Select').find((m) => m.title === 'Run looked at').value === '1'")
    sweep.run([A, B], Spec(saves=SAVES), tmp_path, plan=PAIRS)
    found = sweep.load(tmp_path)
    tab.until(f"step.end === {len(SAVES) - 1}", timeout=5_000)
    assert tab.ask("step.value") == len(SAVES) - 1  # it stood at the end, and follows it
    run = found.runs.tolist().index(looked_at(tab, parts[""].runs))
    is_drawn(tab, found.params["W_U"][run, -1])
    assert tab.ask("all('Select').find((m) => m.title === 'Run looked at').value") == "1"


def test_texts_of_configs_titles_and_names_are_shown_as_texts(serve, tab):
    text = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'"
    recording = Small(title=text)
    recording.runs = [text, "second"]
    recording.messages = [text]
    recording.claims = [{"name": text, "verdict": text, "rule": text, "source": {"paper": text}, "reason": text}]
    tab.open(serve({"": recording}, [matrix]))
    tab.page.wait_for_timeout(500)
    assert tab.page.title() == text and text in tab.page.locator("h1").first.inner_text()
    assert tab.page.locator("img[src=x]").count() == 0 and tab.page.locator("td script, p script").count() == 0


def test_every_tab_of_the_labs_own_views_opens_without_an_error(serve, tab, folder):
    tab.open(serve(open_folder(folder), built_in()))
    tabs = tab.page.locator(".bk-tab")
    tabs.first.wait_for()
    assert tabs.count() >= 1
    for i in range(tabs.count()):
        tabs.nth(i).click()
        tab.page.wait_for_timeout(700)
        assert tab.page.get_by_role("alert").count() == 0


def test_an_exported_file_works_without_a_network(offline_tab, folder, trajectory, tmp_path):
    tab = offline_tab
    (recording,) = open_folder(folder).values()
    export.write(tmp_path / "page.html", recording, [rows], points=4, runs=[0, 1])
    tab.open(file_url(tmp_path / "page.html"))
    first, second = (trajectory[str(recording.runs[run])] for run in (0, 1))
    frames = [0, 2, 4, 6]
    is_drawn(tab, first[-1], ERROR * LIMIT)
    tab.handle().focus()
    for at in reversed(frames[:-1]):
        tab.page.keyboard.press("ArrowLeft")
        tab.until(f"step.value === {at}")
        is_drawn(tab, first[at], ERROR * LIMIT)
    assert tab.ask("step.title").startswith("step 0 ")
    tab.page.keyboard.press("ArrowRight")
    tab.until("step.value === 2")
    tab.page.locator(".slick-row").nth(1).locator(".slick-cell").nth(1).click()
    is_drawn(tab, second[2], ERROR * LIMIT)
    tab.page.locator(".slick-row").nth(2).locator(".slick-cell").nth(1).click()
    tab.page.get_by_text(f"this file has none of {recording.runs[2]}").wait_for()
    is_drawn(tab, second[2], ERROR * LIMIT)
    tab.page.get_by_role("button", name="Play").first.click()
    tab.until("step.value === 6")
    is_drawn(tab, second[-1], ERROR * LIMIT)


def test_a_file_that_cannot_be_opened_says_so(offline_tab, folder, tmp_path):
    (recording,) = open_folder(folder).values()
    page = export.page_of(recording, [rows], points=2)
    broken = tmp_path / "broken.html"
    broken.write_text(page.replace('id="toylab-page">H4sI', 'id="toylab-page">AAAA'), "utf-8")
    offline_tab.page.goto(file_url(broken))
    offline_tab.page.get_by_role("alert").wait_for()
    assert "This page could not be opened" in offline_tab.page.get_by_role("alert").inner_text()
    offline_tab.errors.clear()  # it raises too


def test_a_loaded_sweep_shows_itself_in_a_notebook(folder):
    found = sweep.load(folder)
    one = found.select(run=found.runs[1]).explore()
    assert list(one.server.parts[""].runs) == [found.runs[1]]
    one.stop()
    shown = found.explore(height=500)
    assert f'<iframe src="{shown.url}"' in shown._repr_html_() and "height: 500px" in shown._repr_html_()
    assert list(shown.server.parts[""].runs) == found.runs.tolist()
    shown.stop()


def test_arrays_of_a_user_are_shown_in_a_notebook(tab):
    shown = show(params={"W": np.arange(12.0).reshape(3, 2, 2)}, steps=[0, 5, 7], views=[whole])
    tab.open(shown.url)
    tab.page.locator(".bk-tab").get_by_text("own").click()
    drawn = "all('ColumnDataSource').filter((m) => m.data.image).map((m) => [...m.data.image[0]].join())"
    tab.until(f"{drawn}.includes('8,9,10,11')")
    tab.page.goto("about:blank")  # a page whose server has gone tells it, at a time of its own
    shown.stop()


@view("whole", family="own", title="W", needs=("W",))
def whole(moment):
    return Heatmap(moment.params["W"], "W", limit=11.0)
