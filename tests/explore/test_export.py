"""One HTML file: what its frames hold and how exact they are, what it refuses, that it asks nobody."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from served_recording import Small, matrix

from toylab.explore.exporting import export, packing


def inside(page, name):
    """What is compressed in the file under this name."""
    return gzip.decompress(base64.b64decode(re.search(rf'id="toylab-{name}">([^<]*)<', page)[1]))


def frames_of(page):
    """The runs as they are recorded, and a function that reads a column of a run at a frame, as export.js does."""
    block = inside(page, "frames")
    length = int.from_bytes(block[:4], "little")
    runs = json.loads(block[4 : 4 + length])

    def value(run, column, frame):
        begin = 4 + length + run["at"] + column["at"]
        if column["kind"] == "json":
            return json.loads(block[begin : begin + column["bytes"]])[frame]
        kind = np.dtype(f"<{column['kind']}")
        each = {
            name: column[name] * (1 if len(column[name]) > 1 else column["frames"]) for name in ("shapes", "lengths")
        }
        shapes, before = each["shapes"][frame], sum(each["lengths"][:frame])
        found = np.frombuffer(block, kind, each["lengths"][frame], begin + before * kind.itemsize).astype(float)
        if column["kind"] != "f4":
            found = np.where(
                found == packing.LEVELS[column["kind"]] + 1, np.nan, column["low"] + column["step"] * found
            )
        return found.reshape(shapes[0]) if shapes else found

    return runs, value


@pytest.fixture(scope="module")
def recording():
    return Small(9)


@pytest.fixture(scope="module")
def page(recording):
    return export.page_of(recording, [matrix], points=4)


def test_frames_hold_what_the_views_draw(page, recording):
    runs, value = frames_of(page)
    (run,) = runs
    assert run["name"] == "first" and run["points"] == [0, 3, 5, 8]
    (image,) = [column for column in run["columns"] if column["column"] == "image"]
    assert image["kind"] == "u1"
    for frame, at in enumerate(run["points"]):
        drawn, meant = value(run, image, frame), recording.expected(0, at)
        # the limit of the colours is 200; half a step of 254 over the range of the frames
        steps = (recording.expected(0, 8).max() - recording.expected(0, 8).min()) / 254
        assert np.abs(drawn - meant).max() <= steps / 2 + 1e-4 <= packing.ERROR * 200
    titles = [value(run, c, 1) for c in run["columns"] if c["column"] == "title" and c["source"] == image["source"] - 1]
    assert titles == [["W at step 30"]]


def test_what_never_changes_is_in_the_document_alone(page):
    (run,) = frames_of(page)[0]
    assert {"columns", "rows", "low", "high"}.isdisjoint(column["column"] for column in run["columns"])


def test_runs_of_several_are_each_whole(recording):
    runs, value = frames_of(export.page_of(recording, [matrix], points=2, runs=[1, 0]))
    assert [run["name"] for run in runs] == ["second", "first"]
    for number, run in zip((1, 0), runs, strict=True):
        (image,) = [column for column in run["columns"] if column["column"] == "image"]
        assert np.abs(value(run, image, 1) - recording.expected(number, 8)).max() <= packing.ERROR * 200
        assert {"columns", "rows"} <= {column["column"] for column in run["columns"]}


def test_points_are_spread_evenly_over_those_that_the_run_has():
    valid = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0], bool)
    assert export.chosen_points(valid, 100).tolist() == [0, 2, 3, 5, 6, 7]
    assert export.chosen_points(valid, 3).tolist() == [0, 3, 7] and export.chosen_points(valid, 2).tolist() == [0, 7]
    assert export.chosen_points(valid, 1).tolist() == [7]
    assert (
        export.chosen_points(np.zeros(3, bool), 1).tolist() == export.chosen_points(np.zeros(3, bool), 5).tolist() == []
    )


def test_a_run_without_points_and_a_view_that_refuses_one_are_told(recording):
    class Gap(Small):
        def params(self, run, at):
            if at == 3:
                raise LookupError("the chunk at step 30 is gone.")
            return super().params(run, at)

    told = []
    runs, _ = frames_of(export.page_of(Gap(9), [matrix], points=4, report=told.append))
    assert runs[0]["points"] == [0, 5, 8]
    assert told[1:] == ["step 30 is left out: the chunk at step 30 is gone."]
    empty = Small(3)
    empty.valid[:] = False
    runs, _ = frames_of(export.page_of(empty, [matrix]))
    assert runs[0]["points"] == [] and runs[0]["columns"] == []


@pytest.mark.parametrize(("spread", "kind"), [(1.0, "u1"), (2.5, "u1"), (2.6, "u2"), (600.0, "u2"), (700.0, None)])
def test_an_image_has_as_many_bits_as_its_colours_need(spread, kind):
    """Half a step is at most ERROR of the scale: 254 steps for 2.54 times it, 65534 for 655 times."""
    rng = np.random.default_rng(0)
    numbers = rng.uniform(0, spread, 1000)
    numbers[:2] = 0, spread
    numbers[5] = np.nan
    found = packing.quantised(numbers, 1.0)
    assert (found and found[0].dtype.str[1:]) == kind
    if found:
        codes, low, step = found
        known = np.delete(np.arange(1000), 5)
        assert codes[5] == packing.LEVELS[kind] + 1 and codes[known].max() == packing.LEVELS[kind]
        assert (
            np.abs(low + step * codes[known] - numbers[known]).max()
            <= step / 2 * (1 + 1e-6)
            <= packing.ERROR * (1 + 1e-6)
        )


def test_images_without_numbers_and_with_infinite_ones():
    codes, low, step = packing.quantised(np.full((2, 3), np.nan), 1.0)
    assert (codes == 255).all() and (low, step) == (0.0, 0.0)
    codes, low, step = packing.quantised(np.full(3, 7.0), 1.0)
    assert (low + step * codes == 7.0).all()
    assert packing.quantised(np.array([0.0, np.inf]), 1.0) is None


def test_numbers_outside_images_stay_as_they_are():
    """Such as losses on a logarithmic axis: 16 bits of a range would lose the small ones."""
    heights = [np.array([1e-9, 3.0, np.nan], np.float32), np.array([2e-9, 4.0, 5.0], np.float32)]
    (column,), content = packing.packed([[{"top": one}] for one in heights])
    assert column["kind"] == "f4"
    assert np.array_equal(np.frombuffer(content, "<f4").reshape(2, 3), heights, equal_nan=True)


def test_texts_are_json():
    frames = [[{"name": ["a", "b"], "mixed": ["x", float("nan")]}], [{"name": [], "mixed": ["y", 2.0]}]]
    columns, content = packing.packed(frames)
    read = {c["column"]: json.loads(content[c["at"] : c["at"] + c["bytes"]]) for c in columns}
    assert read == {"name": [["a", "b"], []], "mixed": [["x", None], ["y", 2.0]]}
    assert all(column["at"] % 4 == 0 for column in columns)


def test_arrays_of_other_lengths_keep_their_nan():
    """As JSON nan would be null, which is drawn as 0."""
    first = {"x": np.array([1.0, np.nan]), "xs": [np.zeros(1), np.array([1.0, np.nan])], "image": [np.eye(2)]}
    other = {"x": np.array([3.0]), "xs": [np.full(3, 2.0)], "image": [np.full((1, 3), np.nan)]}
    columns, content = packing.packed([[first], [other]])
    by_name = {column["column"]: column for column in columns}
    assert by_name["x"]["lengths"] == [2, 1] and by_name["x"]["shapes"] == [[]]
    assert by_name["xs"]["lengths"] == [3, 3][:1] and by_name["xs"]["shapes"] == [[[1], [2]], [[3]]]
    assert by_name["image"]["kind"] == "u1" and by_name["image"]["lengths"] == [4, 3]
    x = np.frombuffer(content, "<f4", 3, by_name["x"]["at"])
    assert np.array_equal(x, [1.0, np.nan, 3.0], equal_nan=True)


def test_the_file_fetches_nothing_and_says_so_to_the_browser(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page.replace(policy, ""))


def test_bokeh_js_is_inside_with_its_licence(page):
    script = inside(page, "bokeh").decode()
    assert "Copyright (c) Anaconda, Inc., and Bokeh Contributors" in script and "Redistribution" in script
    assert len(page) < 1_000_000  # 720 kB of it


def test_the_same_runs_give_frames_of_the_same_bytes(recording, page):
    assert inside(export.page_of(recording, [matrix], points=4), "frames") == inside(page, "frames")


def test_it_is_written_whole(tmp_path, recording):
    file = tmp_path / "page.html"
    size = export.write(file, recording, [matrix], points=2)
    assert size == file.stat().st_size and file.read_text("utf-8").rstrip().endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert oct(file.stat().st_mode)[-3:] != "000"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"points": 0}, "points is 0: it must be at least 1."),
        ({"runs": [2]}, "runs has 2: there are 0 to 1."),
        ({"runs": [0, 0]}, "runs has a run twice"),
    ],
)
def test_what_cannot_be_exported_is_refused(recording, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        export.page_of(recording, [matrix], **options)


def test_runs_of_other_shapes_are_refused():
    recording = Small()
    recording.shapes = [{"W": (5, 4)}, {"W": (6, 4)}]
    with pytest.raises(ValueError, match="first and second have params of other shapes"):
        export.page_of(recording, [matrix], runs=[0, 1])


def test_a_recording_without_runs_is_refused():
    recording = Small()
    recording.runs = []
    with pytest.raises(ValueError, match="small has no runs that could be exported"):
        export.page_of(recording, [matrix])
