"""The panels in a real browser, where no server stands behind them: what is picked in one is seen in the others."""

import json

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.resources import INLINE
from browser import chromium, file_url, offline_tab
from swept_recording import EVIL, VIEWS, Swept

from toylab.explore.page.page import Page

pytestmark = pytest.mark.slow
assert chromium and offline_tab  # fixtures


RUNS = "all('DataTable').find((m) => m.columns.some((c) => c.field === 'name')).source"
CELLS = "all('ColumnDataSource').find((m) => 'x_value' in m.data)"
LINES = "all('ColumnDataSource').find((m) => 'ys0' in m.data)"


def file_of(recording, folder):
    document = Document()
    Page({"": recording}, VIEWS, live=False).add_to(document)
    path = folder / "page.html"
    path.write_text(file_html(document, INLINE, title=document.title, template=document.template), encoding="utf-8")
    return file_url(path)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return file_of(Swept(), tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(url, offline_tab):
    offline_tab.open(url)
    offline_tab.until(f"{CELLS}.data.x.length === 12")
    return offline_tab


def titled(title: str) -> str:
    return f"every.find((m) => m.title === {title!r})"


def put(page, model: str, name: str, value) -> None:
    page.ask(f"void (({model}).{name} = {json.dumps(value)})")


def centre(page, title: str, at: tuple[float, float]) -> tuple[float, float]:
    """Where a place of a plot's frame, in shares of its width and height, is on the screen."""
    code = """([title, x, y]) => {
      const walk = function* (view) { yield view; for (const one of view.children?.() ?? []) yield* walk(one) }
      for (const root of Bokeh.index) for (const view of walk(root)) if (view.model.title?.text?.startsWith(title)) {
        view.el.scrollIntoView({block: "center"})
        const box = view.el.getBoundingClientRect(), frame = view.frame.bbox
        return [box.x + frame.left + x * frame.width, box.y + frame.top + y * frame.height]
      }
    }"""
    return page.page.evaluate(code, [title, *at])


def test_a_selection_of_runs_is_one_in_all_panels(page):
    put(page, f"{RUNS}.selected", "indices", [5, 2])
    assert page.ask(f"{LINES}.selected.indices") == [5, 2]
    assert page.ask(f"{titled('Run looked at')}.value") == "5"
    marked = page.ask(f"{CELLS}.selected.indices.map((i) => [{CELLS}.data.x[i], {CELLS}.data.y[i]])")
    assert sorted(marked) == [
        [1, 1],
        [2, 0],
    ]  # run 5 is of the second weight decay and share, run 2 of the third and first


def test_a_click_on_a_cell_selects_its_runs(page):
    assert page.ask(f"Array.from({CELLS}.data.n)") == [1] * 12
    page.page.mouse.click(*centre(page, "Median of", (0.6, 0.5)))
    page.until(f"{RUNS}.selected.indices.length === 1")
    assert page.ask(f"{RUNS}.selected.indices") == [6]
    assert page.ask(f"{titled('Run looked at')}.value") == "6"


def test_cells_have_the_medians_of_their_runs_at_the_step(page):
    recording = Swept()
    put(page, titled("Upwards"), "value", "none")
    put(page, "step", "value", 7)
    found = page.ask(f"Array.from({CELLS}.data.value)")
    # of three runs a cell the middle one
    expected = [np.sort(recording.measures["test_loss"][i::4, 7])[1] for i in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # sent as float32


def test_a_run_that_has_ended_keeps_its_last_value_in_the_cells(offline_tab, tmp_path):
    recording = Swept(short=5)
    offline_tab.open(file_of(recording, tmp_path))
    put(offline_tab, "step", "value", 20)
    offline_tab.until(f"{CELLS}.data.x.length === 12")
    expected = recording.measures["test_loss"][:, 20].copy()
    expected[1] = recording.measures["test_loss"][1, 4]
    np.testing.assert_allclose(offline_tab.ask(f"Array.from({CELLS}.data.value)"), expected, rtol=1e-6)  # float32
    titles = offline_tab.ask("all('Figure').map((m) => m.title.text)")
    assert any(title.endswith("or each run's last point before it") for title in titles)


def test_the_step_is_told_and_drawn(page):
    put(page, "step", "value", 7)
    step = int(Swept().steps[7])
    assert page.ask("step.title") == f"step {step} (8 of 21)"
    assert page.ask("all('Span').map((m) => m.location)") == [step]


def test_a_click_in_the_curves_sets_the_step(page):
    x, y = centre(page, "Measures against", (0.5, 0.4))
    page.page.mouse.click(x, y)
    page.until("step.value !== 20")
    span = page.ask("(() => { const f = all('Figure').find((m) => m.title.text.startsWith('Measures')); "
                    "return [f.x_range.start, f.x_range.end] })()")  # fmt: skip
    wanted = (span[0] + span[1]) / 2
    assert page.ask("step.value") == int(np.abs(Swept().steps - wanted).argmin())


def test_the_lines_are_the_measures(page):
    ys = page.ask(f"{LINES}.data.ys1.map((line) => Array.from(line))")
    np.testing.assert_allclose(ys, Swept().measures["test_loss"], rtol=1e-6)


def test_arrows_move_the_step(page):
    page.page.locator(".step [role=slider]").first.focus()
    page.page.keyboard.press("ArrowLeft")
    assert page.ask("step.value") == 19
    page.page.keyboard.press("ArrowRight")
    assert page.ask("step.value") == 20


def test_playing_goes_through_the_points_and_ends(page):
    put(page, "step", "value", 17)
    put(page, titled("Points"), "value", "20")
    put(page, "all('Toggle')[0]", "active", True)
    page.until("step.value === 20 && !all('Toggle')[0].active")
    put(page, "all('Toggle')[0]", "active", True)  # from the end it begins again
    page.until("step.value < 20")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("weight_decay > 0.5", 6),
        ("weight_decay > 0.5 and seed <= 3", 2),
        ("optimizer.weight_decay = 3, op = add", 0),
        ("op != add", 6),
        ("RUN1", 2),  # run10 and run11: run1 has another name
        ("", 12),
    ],
)
def test_the_filter_leaves_the_runs_that_fit(page, text, left):
    put(page, titled("Filter"), "value_input", text)
    kept = page.ask("(all('BooleanFilter')[0].booleans ?? Array(12).fill(true)).filter((one) => one).length")
    assert kept == left


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weight > 1", '"weight" is no column: it must be one of optimizer.weight_decay'),
        ("> 1", '"" is no column'),
        ("seed > much", '"much" is no number: seed is compared with one.'),
        ("op > add", "task.op has texts: it can be compared by = or != alone."),
        ("<img src=x onerror=alert(1)>", "is no column"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_in_a_sentence(page, text, said):
    put(page, titled("Filter"), "value_input", text)
    assert said in page.page.locator(".note [role=alert]").first.text_content()
    assert page.ask("all('BooleanFilter')[0].booleans") is None


def test_bands_are_the_quartiles_of_the_runs_of_a_colour(page):
    put(page, titled("Show"), "value", "band")
    found = page.ask("all('ColumnDataSource').find((m) => 'dash' in m.data).data.ys.map((line) => Array.from(line))")
    expected = [np.median(Swept().measures["train_loss"][i::4], axis=0) for i in range(4)]
    np.testing.assert_allclose(found[:4], expected, rtol=1e-6)
    put(page, titled("Colour by"), "value", "c3")  # seeds: 12 of them, one run each
    assert page.ask("all('ColumnDataSource').find((m) => 'dash' in m.data).data.ys.length") == 24


def test_axes_change_between_linear_and_logarithmic(page):
    for title, side in (("Step axis", "x"), ("Value axis", "y")):
        for kind in ("log", "linear", "log"):
            put(page, titled(title), "value", kind)
            figure = "all('Figure').find((m) => m.title.text.startsWith('Measures'))"
            assert page.ask(f"{figure}.{side}_scale.type") == {"log": "LogScale", "linear": "LinearScale"}[kind]


def test_a_line_of_the_parallel_coordinates_selects_its_run(page):
    knots = "all('ColumnDataSource').find((m) => 'run' in m.data && 'value' in m.data)"
    put(page, f"{knots}.selected", "indices", [2 * 5, 3 * 5])
    assert page.ask(f"{RUNS}.selected.indices") == [2, 3]


def test_hostile_names_are_shown_as_text(page):
    for place in ("h1", "td", "h3"):
        assert page.page.locator(place, has_text="<script>alert(1)</script>").count() > 0
    assert page.page.locator("script", has_text="alert(1)").count() == 0
    assert page.ask("document.title").endswith(EVIL)


@pytest.mark.parametrize("width", [1400, 800])
def test_nothing_is_wider_than_the_window_and_every_control_has_a_name(url, offline_tab, width):
    offline_tab.page.set_viewport_size({"width": width, "height": 1000})
    offline_tab.open(url)
    offline_tab.page.wait_for_timeout(900)
    assert offline_tab.ask("document.documentElement.scrollWidth") <= width
    controls = offline_tab.page.locator("input:visible, select:visible, button:visible, [role=slider]:visible")
    names = controls.evaluate_all(
        "(all) => all.map((one) => one.getAttribute('aria-label') || one.textContent || one.type)"
    )
    assert len(names) > 10 and all(names)


def test_the_colours_follow_light_and_dark(url, offline_tab):
    offline_tab.page.emulate_media(color_scheme="dark")
    offline_tab.open(url)
    ink = "all('Text').find((m) => m.tags.includes('ink')).text_color.value"
    offline_tab.until(f"{ink} === '#e6e9ee'")
    offline_tab.page.emulate_media(color_scheme="light")
    offline_tab.until(f"{ink} === '#1b1f24'")


def test_a_brush_of_five_hundred_runs(tmp_path, offline_tab):
    """Budget 200 ms on an idle machine; here the least of several, with room for slow ones without a graphics card."""
    offline_tab.open(file_of(Swept(n_runs=500, n_steps=200), tmp_path), timeout=60_000)
    code = """async (runs) => {
      const table = [...Bokeh.documents[0].all_models].find((m) => m.type === "DataTable" && m.columns.length > 3)
      const begun = performance.now()
      table.source.selected.indices = runs
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
      return performance.now() - begun
    }"""
    took = [offline_tab.page.evaluate(code, [*range(i, 500, 7 + i)]) for i in range(8)]
    assert min(took) < 400
