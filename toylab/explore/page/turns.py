"""Who draws when: each view in a tick of its own, at what is then the newest point; what is on the screen first."""

from collections.abc import Callable, Sequence
from typing import Any

from bokeh.document import Document

SOON = 15  # milliseconds in which more of what a drag sends comes in
REST = 600  # milliseconds without a newer point after which what is not on the screen is drawn


class Turns:
    """Draws by name, each in its turn. A name that waits is not put behind the others when it is asked for again: a drag
    piles nothing up, and no slow view keeps the others waiting.

    Args:
        draw: called with a name.
    """

    def __init__(self, draw: Callable[[str], None]) -> None:
        self.draw = draw
        self.waiting: dict[str, None] = {}
        self.resting: dict[str, None] = {}  # not on the screen: drawn when they come there, or when nothing moves
        self._rest: Any = None  # what Bokeh calls when nothing has moved
        self._document: Document | None = None
        self._asked = False

    def ask(self, names: Sequence[str], document: Document | None, later: Sequence[str] = ()) -> None:
        """Has these drawn: soon where a server stands behind the document, else at once; `later` are not on the screen."""
        self.waiting |= dict.fromkeys(names)
        self._document = document if document is not None and document.session_context is not None else None
        if self._document is None:
            self.waiting |= dict.fromkeys(later)
            while self.waiting:
                self._next()
            return
        self.resting = {name: None for name in (*self.resting, *later) if name not in self.waiting}
        if later:
            if self._rest is not None:
                self._document.remove_timeout_callback(self._rest)
            self._rest = self._document.add_timeout_callback(self._all, REST)
        self._soon()

    def seen(self, names: Sequence[str]) -> None:
        """Draws those of these soon that are still to be drawn: they have come on the screen."""
        self.waiting |= {name: None for name in names if name in self.resting}
        self.resting = {name: None for name in self.resting if name not in self.waiting}
        self._soon()

    def _all(self) -> None:
        self._rest = None
        self.seen(list(self.resting))

    def _soon(self) -> None:
        if self.waiting and not self._asked and self._document is not None:
            self._asked = True
            self._document.add_timeout_callback(self._tick, SOON)

    def _tick(self) -> None:
        self._next()
        self._asked = bool(self.waiting) and self._document is not None
        if self._asked and self._document is not None:
            self._document.add_next_tick_callback(self._tick)

    def _next(self) -> None:
        if self.waiting:
            name = next(iter(self.waiting))
            del self.waiting[name]
            self.draw(name)
