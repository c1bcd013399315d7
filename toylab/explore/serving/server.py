"""The explorer as a server on this machine: a page a tab, new commits looked for in the background, Ctrl-C ends it."""

import asyncio
import contextlib
import errno
import logging
import secrets
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from toylab import store
from toylab.explore.declaring import View
from toylab.explore.page.page import Page
from toylab.explore.recording import Recording
from toylab.explore.serving.figures import Figure, figure_files
from toylab.explore.serving.guard import ANYWHERE, LOOPBACK, Guarded

LONGEST = 3.0  # seconds that what a tab has asked for may take when all ends
TRIED = 100  # ports, from the one that is asked for
LOGS = ("tornado.application", "bokeh.server.views.ws", "bokeh.server.protocol_handler")  # that tell of tabs
OFTEN, SELDOM, QUIET = 1.0, 3.0, 60.0  # seconds: between looks for new commits, and after how long without any seldom


class Server:
    """Serves recordings by part.

    Args:
        parts: the recordings of a page, by part.
        views: all views there are.
        figures: the folder with the page's figures; None where there are none.
        host: the address to listen on. Another than the loopback address asks for a token.
        port: the port, or the first free one of the next hundred; 0 takes any.
        in_notebooks: whether pages of other local servers may show it in a frame.

    Raises:
        ValueError: where it cannot listen there, in a sentence.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    _over: asyncio.Event | None = None
    _thread: threading.Thread | None = None

    def __init__(
        self,
        parts: Mapping[str, Recording],
        views: Sequence[View],
        *,
        figures: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        in_notebooks: bool = False,
    ) -> None:
        self.parts, self.views = parts, views
        self.pages = weakref.WeakKeyDictionary[Document, Page]()
        self.socket, self.port = listening(host, port)
        self.token = "" if host in LOOPBACK else secrets.token_urlsafe(24)
        self.app = Guarded(
            {"/": Application(FunctionHandler(self._open))},
            host=host,
            token=self.token,
            cookie=f"toylab-{self.port}",
            in_notebooks=in_notebooks,
            extra_patterns=[(r"/figure/(\d{1,6})", Figure, {"files": partial(figure_files, parts, figures)})],
            extra_websocket_origins=["*"],  # `guard.refusal` has compared it with the host
            log_function=lambda handler: None,
        )
        name = socket.gethostname() if host in ANYWHERE else f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")
        self._ended = threading.Event()
        self._failed = ""

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until Ctrl-C, or `stop` from another thread.

        Args:
            ready: called once it answers.
        """
        logs = [logging.getLogger(name) for name in LOGS]
        for log in logs:
            log.addFilter(self._is_news)
        with contextlib.suppress(KeyboardInterrupt):  # where the system has no handlers of signals in a loop
            asyncio.run(self._serve(ready))
        for log in logs:
            log.removeFilter(self._is_news)

    def start(self) -> None:
        """Serves in a thread of its own; returns once it answers."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(ready.set,), daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Ends it, from another thread; where `start` began it, it has ended when this returns."""
        if self._loop and self._over and not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._over.set)
        if self._thread:
            self._thread.join(10)

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or another thread
                self._loop.add_signal_handler(number, self._over.set)
        http = HTTPServer(self.app)
        server = BaseServer(IOLoop.current(), self.app, http)
        server.start()
        http.add_socket(self.socket)
        threading.Thread(target=self._look, daemon=True).start()
        ready()
        try:
            await self._over.wait()
        finally:
            self._ended.set()
            for recording in self.parts.values():
                if recording.on_demand is not None:
                    recording.on_demand.cancel()
            self.app.hang_up()
            server.stop()
            await http.close_all_connections()
            if at_work := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(at_work, timeout=LONGEST)

    def _open(self, doc: Document) -> None:
        """What a tab gets."""
        page = Page(self.parts, self.views, live=True, figures="figure/{number}")
        page.add_to(doc)
        self.pages[doc] = page
        doc.on_session_destroyed(lambda context: self.pages.pop(doc, None) and None)

    def _look(self) -> None:
        """Looks for new commits, in a thread: a slow disk keeps no tab waiting."""
        last, wait = time.monotonic(), OFTEN
        while not self._ended.wait(wait):
            begun = time.monotonic()
            try:
                is_new, failed = (
                    any([recording.refresh() for recording in self.parts.values()]),
                    "",
                )  # a list: all parts
            except Exception as error:  # it goes on, and tells
                is_new, failed = False, f"Looking for new points failed: {store.first_line(error)}"
            last = begun if is_new else last
            if is_new or failed != self._failed:
                self._failed = failed
                with contextlib.suppress(RuntimeError):  # the loop has ended since
                    self._loop and self._loop.call_soon_threadsafe(self._tell, is_new)
            took = time.monotonic() - begun
            wait = max(OFTEN if begun - last < QUIET else SELDOM, took)

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged: not that a tab was closed, nor what is cut short by the end."""
        if record.name == LOGS[0]:
            return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
        return not self._ended.is_set() and not record.getMessage().startswith("Failed sending message")

    def _tell(self, is_new: bool) -> None:
        for doc, page in list(self.pages.items()):
            doc.add_next_tick_callback(partial(page.say, self._failed))
            if is_new:
                doc.add_next_tick_callback(page.refresh)


def listening(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that listens, and its port.

    Raises:
        ValueError: where there is no such address, or none of the ports is free.
    """
    name = "127.0.0.1" if host == "localhost" else host
    for number in range(port, min(port + TRIED, 65536)) if port else [0]:
        try:
            family, *_, address = socket.getaddrinfo(name, number, type=socket.SOCK_STREAM)[0]
            found = socket.create_server(address[:2], family=family, backlog=128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            if error.errno == errno.EACCES:
                raise ValueError(f"--port is {port}: it needs rights; give one from 1024 to 65535.") from None
            raise ValueError(
                f"--host is {host}: this machine has no such address ({error.strerror}); leave it out, or give one of "
                "its own, as 0.0.0.0 for all."
            ) from None
        found.setblocking(False)
        return found, found.getsockname()[1]
    raise ValueError(f"--port is {port}: it and the next {TRIED - 1} are in use; leave it out for any that is free.")
