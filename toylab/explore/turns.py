"""Who draws when: each view in a tick of its own, at what is then the newest point."""

from collections.abc import Callable, Sequence

from bokeh.document import Document

SOON = 15  # milliseconds in which more of what a drag sends comes in


class Turns:
    """Draws by name, each in its turn. A name that waits is not put behind the others when it is asked for again: a drag
    piles nothing up, and no slow view keeps the others waiting.

    Args:
        draw: called with a name.
    """

    def __init__(self, draw: Callable[[str], None]) -> None:
        self.draw = draw
        self.waiting: dict[str, None] = {}
        self._document: Document | None = None
        self._asked = False

    def ask(self, names: Sequence[str], document: Document | None) -> None:
        """Has these drawn: soon where a server stands behind the document, else at once."""
        self.waiting |= dict.fromkeys(names)
        self._document = document if document is not None and document.session_context is not None else None
        if self._document is None:
            while self.waiting:
                self._next()
        elif self.waiting and not self._asked:
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
