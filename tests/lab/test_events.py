"""Event files hold each point of each run once, whatever was killed when."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import run_sweep
from toylab.lab.events import FILE, Events
from toylab.sweep import Progress

STEPS = (0, 10, 20, 40, 80)
LOSS = np.arange(10, dtype=np.float32).reshape(2, 5) / 4  # [R, T]
LOSS[1, 3:] = np.nan  # a run that has ended


def progress_of(n, group="000-a", runs=("aaa", "bbb")):
    """A report after n points."""
    measures = {"loss": LOSS[:, :n], "accuracy": 2 * LOSS[:, :n]} if n else {}
    return Progress(group, STEPS[max(n - 1, 0)], STEPS[-1], measures, np.zeros(2, bool), runs=runs, steps=STEPS[:n])


def read(path):
    """step → measures, of every record; its framing by the TFRecord format, not by the code under test."""
    content, at, found = path.read_bytes(), 0, []
    while at < len(content):
        n = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + n])
        if event.HasField("summary"):
            found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
        at += 16 + n
    return found


EXPECTED = [
    [(step, {"accuracy": 2 * x, "loss": x}) for step, x in zip(STEPS, run, strict=True) if x == x]
    for run in LOSS.tolist()
]


def both(folder):
    return [read(folder / run / FILE) for run in ("aaa", "bbb")]


def test_every_point_is_there_once(tmp_path):
    events = Events(tmp_path)
    for n in (0, 2, 3, 5, 5):
        events(progress_of(n))
    assert both(tmp_path) == EXPECTED


@pytest.mark.parametrize("resumed_at", [0, 1, 3, 5])
@pytest.mark.parametrize("torn", [0, 7, 40])
def test_going_on_after_a_kill_repeats_no_point_and_leaves_none_out(tmp_path, resumed_at, torn):
    first = Events(tmp_path)
    for n in (0, 2, 4):
        first(progress_of(n))
    for run in ("aaa", "bbb"):
        path = tmp_path / run / FILE
        path.write_bytes(path.read_bytes()[: -torn or None])
    again = Events(tmp_path)  # it was committed up to other points than were reported
    for n in (resumed_at, 5):
        again(progress_of(n))
    assert both(tmp_path) == EXPECTED


def test_points_between_those_that_are_written_are_filled_in(tmp_path):
    """A sweep that was made denser without event files, and is then exported again."""
    few = [0, 2, 4]
    sparse = {"loss": LOSS[:, few], "accuracy": 2 * LOSS[:, few]}
    steps = tuple(STEPS[i] for i in few)
    Events(tmp_path)(Progress("000-a", 80, 80, sparse, np.zeros(2, bool), runs=("aaa", "bbb"), steps=steps))
    assert [step for step, _ in both(tmp_path)[0]] == [0, 20, 80]
    Events(tmp_path)(progress_of(5))
    assert both(tmp_path) == EXPECTED


def test_hundreds_of_runs_hold_no_file_open(tmp_path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        events = Events(tmp_path)
        for first in range(0, 200, 2):
            for n in (0, 5):
                events(progress_of(n, f"{first}", (f"{first}", f"{first + 1}")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list(tmp_path.rglob(FILE))) == 200


def test_a_point_that_could_not_be_written_is_made_up_for(tmp_path):
    events = Events(tmp_path)
    events(progress_of(2))
    path = tmp_path / "aaa"
    path.rename(tmp_path / "away")
    path.write_text("in the way")
    events(progress_of(3))
    path.unlink()
    (tmp_path / "away").rename(path)
    events(progress_of(5))
    assert both(tmp_path) == EXPECTED


def test_a_missing_extra_is_one_sentence_and_nothing_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    arguments = ["grokking", "--scale", "smoke", "--tensorboard", "--out", str(tmp_path / "out")]
    assert run_sweep.main(arguments) == 2
    assert capsys.readouterr().err == "--tensorboard needs its extra: pip install 'toylab[tensorboard]'.\n"
    assert not (tmp_path / "out").exists()


def test_checksums_are_those_of_the_format(tmp_path):
    """CRC-32C of the nine digits is 0xE3069283 (RFC 3720); a TFRecord turns it by 15 bits and adds a constant."""
    from toylab.lab.events import _masked

    crc = 0xE3069283
    assert _masked(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert all(a != b for a, b in pairwise([_masked(b"1"), _masked(b"2"), _masked(b"")]))
