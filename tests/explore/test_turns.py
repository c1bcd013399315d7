"""Who draws when, on a server: a drag piles nothing up."""

from types import SimpleNamespace

import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from toylab.explore.page.turns import Turns


class Server:
    """A document whose callbacks are called one by one."""

    def __init__(self) -> None:
        self.session_context, self.waiting, self.late = SimpleNamespace(), [], []

    def add_timeout_callback(self, call, milliseconds):
        (self.waiting if milliseconds < 100 else self.late).append(call)
        return call

    def remove_timeout_callback(self, call) -> None:
        self.late.remove(call)

    def add_next_tick_callback(self, call) -> None:
        self.waiting.append(call)

    def tick(self) -> None:
        self.waiting.pop(0)()


def test_without_a_server_all_is_drawn_at_once():
    drawn = []
    Turns(drawn.append).ask(["a", "b"], None)
    Turns(drawn.append).ask(["c"], SimpleNamespace(session_context=None))
    assert drawn == ["a", "b", "c"]


def test_a_drag_of_a_hundred_values_draws_each_view_once_at_the_newest():
    server, drawn, value = Server(), [], [0]
    turns = Turns(lambda name: drawn.append((name, value[0])))
    for value[0] in range(100):
        turns.ask(["a", "b"], server)
    assert len(server.waiting) == 1
    server.tick()
    server.tick()
    assert drawn == [("a", 99), ("b", 99)] and not server.waiting


def test_a_view_that_waits_keeps_its_turn_while_the_drag_goes_on():
    server, drawn = Server(), []
    turns = Turns(drawn.append)
    for _ in range(6):
        turns.ask(["a", "b", "c"], server)
        server.tick()
    assert drawn == ["a", "b", "c", "a", "b", "c"]


def test_what_is_asked_for_while_a_view_is_drawn_is_drawn_afterwards():
    server, drawn = Server(), []

    def draw(name: str) -> None:
        drawn.append(name)
        if len(drawn) == 1:
            turns.ask(["a"], server)

    turns = Turns(draw)
    turns.ask(["a"], server)
    while server.waiting:
        server.tick()
    assert drawn == ["a", "a"]


def test_what_is_not_on_the_screen_is_drawn_when_nothing_moves():
    server, drawn = Server(), []
    turns = Turns(drawn.append)
    for _ in range(3):
        turns.ask(["a"], server, ["b", "c"])
        server.tick()
    assert drawn == ["a", "a", "a"] and len(server.late) == 1
    server.late.pop()()
    while server.waiting:
        server.tick()
    assert drawn == ["a", "a", "a", "b", "c"] and not turns.resting


def test_what_comes_on_the_screen_is_drawn_soon_and_only_if_it_is_old():
    server, drawn = Server(), []
    turns = Turns(drawn.append)
    turns.ask(["a"], server, ["b", "c"])
    server.tick()
    turns.seen(["a", "b"])
    while server.waiting:
        server.tick()
    assert drawn == ["a", "b"] and list(turns.resting) == ["c"]
    turns.seen(["a", "b"])
    assert not server.waiting
