"""The log tells what happened to whom and when, a line each, and nothing else."""

import shlex

import numpy as np
import pytest

from toylab import display
from toylab.lab import watch
from toylab.lab.watch import Log, Watch
from toylab.sweep import Interrupted, Progress

STEPS = (0, 10, 20, 40)
LOSS = np.ones((2, 4), np.float32)
LOSS[1, 2:] = np.nan


def progress_of(n, committed=None, ended=(False, False), diverged=(None, None), messages=(), group="000-a"):
    return Progress(
        group,
        STEPS[max(n - 1, 0)],
        STEPS[-1],
        {"loss": LOSS[:, :n]} if n else {},
        np.array(ended),
        tuple(messages),
        runs=("aaa", "bbb"),
        steps=STEPS[:n],
        committed=committed,
        diverged=diverged,
    )


def lines(path):
    """Each line as its pairs, but for the time."""
    found = [dict(pair.split("=", 1) for pair in shlex.split(line)) for line in path.read_text().splitlines()]
    assert all(list(line)[:4] == ["time", "group", "event", "step"] for line in found)
    return [{key: value for key, value in line.items() if key != "time"} for line in found]


def events(path):
    return [line["event"] for line in lines(path)]


def test_a_group_from_beginning_to_end(tmp_path):
    log = Log(tmp_path / "log.txt")
    for report in (
        progress_of(0),
        progress_of(1),
        progress_of(3, committed=0, ended=(False, True)),
        progress_of(3, committed=0, ended=(False, True), messages=["slow disk"]),
        progress_of(4, committed=20, ended=(False, True)),
    ):
        log(report)
    log.close()
    assert lines(tmp_path / "log.txt") == [
        {"group": "000-a", "event": "begin", "step": "0", "runs": "2", "last": "40"},
        {"group": "000-a", "event": "commit", "step": "0", "ended": "1"},
        {"group": "000-a", "event": "ended", "step": "10", "run": "bbb"},
        {"group": "000-a", "event": "note", "step": "20", "message": "slow disk"},
        {"group": "000-a", "event": "commit", "step": "20", "ended": "1"},
        {"group": "000-a", "event": "finished", "step": "40"},
    ]


def test_a_stop_a_resume_and_a_damaged_chunk(tmp_path):
    log = Log(tmp_path / "log.txt")
    for report in (progress_of(0), progress_of(2, committed=0)):
        log(report)
    log.close(Interrupted("all is committed"))
    log = Log(tmp_path / "log.txt")
    log(progress_of(1, committed=0, messages=["the chunk at step 10 in x is damaged: a file"]))
    log(progress_of(3, committed=0, ended=(False, True), diverged=(None, 20)))
    log.close(OSError("full"))
    assert events(tmp_path / "log.txt") == ["begin", "commit", "stopped", "resume", "damaged", "diverged", "failed"]
    assert lines(tmp_path / "log.txt")[-2] == {"group": "000-a", "event": "diverged", "step": "20", "run": "bbb"}
    assert lines(tmp_path / "log.txt")[-1]["error"] == "full"


def test_a_group_left_behind_unfinished_has_failed_and_a_finished_one_is_no_news(tmp_path):
    log = Log(tmp_path / "log.txt")
    log(progress_of(4, committed=40, group="000-a"))  # found finished
    for report in (
        progress_of(0, group="001-b"),
        progress_of(2, group="001-b"),
        progress_of(0, group="002-c"),
        progress_of(4, group="002-c"),
    ):
        log(report)
    log.close()
    output = [(line["group"], line["event"]) for line in lines(tmp_path / "log.txt")]
    assert output == [("001-b", "begin"), ("002-c", "begin"), ("001-b", "failed"), ("002-c", "finished")]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    log = Log(tmp_path / "nowhere" / "log.txt")
    for report in (progress_of(0), progress_of(4)):
        log(report)
    log.close()


def test_bars_of_groups_that_are_over_make_room_for_those_that_go(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with Watch(("learned", lambda measures: np.zeros(2, bool))) as shown:
        for n in range(20):
            shown(progress_of(4, group=f"{n:03d}-a"))
        shown(progress_of(1, group="020-a"))
        bars = [shown.bars[f"{n:03d}-a"] for n in range(12, 20)]
        assert [task.id for task in shown.display.tasks if task.visible] == [shown.compiling, *bars]
        shown(progress_of(2, group="020-a"))
        assert [task.id for task in shown.display.tasks if task.visible] == [*bars, shown.bars["020-a"]]


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, as a test sets it."""
    now = [0.0]
    monkeypatch.setattr(watch.time, "perf_counter", lambda: now[0])
    return now


def segments(shown, clock, times, last=40_000, group="000-a"):
    """Segments at (seconds, step); the first is what training begins with."""
    for n, (at, step) in enumerate(times):
        clock[0] = at
        measures = {"loss": np.ones((2, n))} if n else {}
        shown(Progress(group, step, last, measures, np.zeros(2, bool), steps=tuple(range(n))))


def test_the_time_left_and_the_rate_are_without_the_compile(clock, capsys):
    """600 s of compiling, and then 100 steps a second: 40,000 steps are no 1,300 minutes."""
    with Watch(("grokked", lambda measures: np.array([True, False]))) as shown:
        segments(shown, clock, [(0, 0), (600, 10), (601, 110), (610, 1010)])
    first, *_, newest = capsys.readouterr().out.splitlines()
    assert first == "grokked 1/2 · step 10/40,000 · compiled in 600 s · loss 1 · ended 0/2"
    assert newest == "grokked 1/2 · step 1,010/40,000 · at most 6:30 left · 100 steps/s · loss 1 · ended 0/2"


def test_points_that_lie_dense_at_first_do_not_slow_down_what_is_expected(clock, capsys):
    with Watch(("grokked", lambda measures: np.zeros(2, bool))) as shown:
        segments(shown, clock, [(0, 0), (10, 10), (20, 20), (30, 30), (40, 1030), (50, 2030)])
    assert "step 2,030/40,000 · at most 6:20 left · 100 steps/s" in capsys.readouterr().out


def test_what_goes_on_is_timed_from_where_it_goes_on(clock, capsys):
    with Watch(("grokked", lambda measures: np.zeros(2, bool))) as shown:
        segments(shown, clock, [(0, 30_000), (60, 30_100), (70, 31_100)])
    assert "at most 1:29 left · 100 steps/s" in capsys.readouterr().out


def test_compiling_is_said_with_its_time_until_the_first_segment(clock, monkeypatch, capsys):
    with Watch(("learned", lambda measures: np.zeros(2, bool))) as shown:
        assert shown.timer.is_alive() and shown.timer.args == ("compiling…",)
        segments(shown, clock, [(0, 0)])
        assert shown.timer.is_alive()
        segments(shown, clock, [(0, 0), (1, 10)], group="001-b")
        assert shown.timer.finished.is_set()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with Watch(("learned", lambda measures: np.zeros(2, bool))) as shown:
        (task,) = shown.display.tasks
        clock[0] += 75
        assert display.Line().render(task).plain == "compiling… 1:15"


def test_at_80_columns_stand_the_milestone_the_step_and_the_time_left(clock, capsys):
    with Watch(("grokked", lambda measures: np.zeros(2, bool))) as shown:
        segments(shown, clock, [(0, 0), (600, 10), (601, 110), (610, 1010)])
    newest = capsys.readouterr().out.splitlines()[-1]
    assert newest[: 80 - display.BAR_WIDTH - 1].startswith("grokked 0/2 · step 1,010/40,000 · at most 6:30 left")


def test_a_clock_has_hours_where_there_are():
    assert [display.clock(s) for s in (5, 750, 3723)] == ["0:05", "12:30", "1:02:03"]


def test_the_watch_closes_the_log_with_how_it_ended(tmp_path, capsys):
    def never(measures):
        return np.zeros(2, bool)

    with pytest.raises(Interrupted), Watch(("learned", never), [Log(tmp_path / "log.txt")]) as shown:
        shown(progress_of(0))
        shown(progress_of(2, committed=0))
        raise Interrupted
    assert events(tmp_path / "log.txt") == ["begin", "commit", "stopped"]
    assert "step 10/40" in capsys.readouterr().out
