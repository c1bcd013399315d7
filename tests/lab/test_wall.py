"""How long groups took to train, by the lines of a log."""

from toylab.lab import wall

LOG = """\
time=2026-01-01T10:00:00+0000 group=000-a event=begin step=0 runs=2 last=9
time=2026-01-01T10:00:30+0000 group=000-a event=commit step=3 ended=0
time=2026-01-01T10:00:10+0000 group=001-b event=begin step=0 runs=2 last=9
time=2026-01-01T10:01:00+0000 group=001-b event=failed step=3 error="no space, \\"left\\""
time=2026-01-02T10:00:00+0000 group=000-a event=resume step=3 runs=2 last=9
time=2026-01-02T12:00:05+0200 group=000-a event=note message="a = b"
time=2026-01-02T10:00:12+0000 group=000-a event=finished step=9
time=2026-01-02T10:00:12+0000 group=001-b eve"""


def test_the_time_of_a_group_is_that_of_its_stretches(tmp_path):
    """What lies between two stretches is none, what came after the last line of one that was cut off neither."""
    (tmp_path / "log.txt").write_text(LOG, "utf-8")
    assert wall.seconds(tmp_path / "log.txt") == {("", "000-a"): 42, ("", "001-b"): 50}
    assert wall.seconds(tmp_path / "no.txt") == {}
    (tmp_path / "log.txt").write_bytes(b"\xff")
    assert wall.seconds(tmp_path / "log.txt") == {}


def test_groups_of_two_parts_may_have_one_name(tmp_path):
    ends = "time=2026-01-01T10:00:0{}+0000 part={} group=000-a event={}\n"
    lines = [
        ends.format(*one) for one in ((0, "x", "begin"), (3, "x", "finished"), (4, "y", "begin"), (9, "y", "finished"))
    ]
    (tmp_path / "log.txt").write_text("".join(lines), "utf-8")
    assert wall.seconds(tmp_path / "log.txt") == {("x", "000-a"): 3, ("y", "000-a"): 5}


def test_the_sum_is_told_with_how_much_of_it_is_known():
    one, four = {"cores": 1}, {"cores": 4}
    known, unknown = {"seconds": 3600.0, "environment": four}, {"environment": one}
    assert (
        wall.told([{"groups": {"a": known}}, {"groups": {"b": known}}]) == "training took 2:00:00, 8:00:00 of one core"
    )
    assert wall.told([{"groups": {"a": known, "b": unknown}}]) == (
        "training of 1 of its 2 groups took 1:00:00, 4:00:00 of one core"
    )
    assert wall.told([{"groups": {"a": unknown}}, {"models": {}}]) == ""
