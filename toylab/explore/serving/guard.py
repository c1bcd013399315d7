"""Who may ask the explorer's server for what: its own names, its own origin, a token where others reach it, few paths."""

import hmac
import re
import weakref
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bokeh.resources import Resources
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.static_handler import StaticHandler
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

COMPONENTS = ["bokeh", "bokeh-widgets", "bokeh-tables"]  # of BokehJS
PATHS = re.compile(r"/(|ws|favicon\.ico|figure/\d{1,6}|static/js/(" + "|".join(COMPONENTS) + r")\.min\.js)")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYWHERE = ("", "0.0.0.0", "::")
OF_NOTEBOOKS = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:* vscode-webview:"


class Guarded(BokehTornado):
    """Bokeh's own web application, behind the checks of `refusal`.

    Args:
        applications: as of BokehTornado.
        host: the address that it listens on. Requests must name it, or one of LOOPBACK if it is one; under one of ANYWHERE
            they may name any, for then the token is asked.
        token: "" where none is asked.
        cookie: the name of the cookie that has the token.
        in_notebooks: whether pages of other local servers may show it in a frame.
    """

    def __init__(
        self, applications: Any, *, host: str, token: str, cookie: str, in_notebooks: bool, **options: Any
    ) -> None:
        super().__init__(applications, include_headers=[], include_cookies=[], use_index=False, **options)
        self.names = None if host in ANYWHERE else LOOPBACK if host in LOOPBACK else (host.lower(),)
        self.token, self.cookie = token, cookie
        self.sockets = weakref.WeakSet[Any]()
        self.add_transform(partial(Headers, frames=OF_NOTEBOOKS if in_notebooks else "'self'"))

    def new_connection(self, protocol: Any, socket: Any, *rest: Any) -> Any:
        self.sockets.add(socket)
        return super().new_connection(protocol, socket, *rest)

    def hang_up(self) -> None:
        """Closes the websockets of all tabs."""
        for one in list(self.sockets):
            one.close()

    def find_handler(self, request: HTTPServerRequest, **rest: Any) -> Any:
        if refused := refusal(request, self.names):
            return self.get_handler_delegate(request, Said, {"status": refused[0], "text": refused[1]})
        given = request.query_arguments.get("token", [b""])[-1] if request.path == "/" else b""
        if self.token and _same(given, self.token):
            return self.get_handler_delegate(request, Entrance, {"name": self.cookie, "token": self.token})
        if self.token and not self._is_known(request):
            said = "This needs the token: open the address with ?token=… that toylab explore has printed.\n"
            return self.get_handler_delegate(request, Said, {"status": 403, "text": said})
        return super().find_handler(request, **rest)

    def _is_known(self, request: HTTPServerRequest) -> bool:
        kept = request.cookies.get(self.cookie)
        return kept is not None and _same(kept.value.encode(), self.token)

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """BokehJS from this server, whatever the environment says."""
        made = Resources(mode="server", root_url="/", minified=True, path_versioner=StaticHandler.append_version)
        made.components = COMPONENTS
        return made


def refusal(request: HTTPServerRequest, names: tuple[str, ...] | None) -> tuple[int, str] | None:
    """The status and the sentence with which a request is refused; None where it may be answered.

    A page of another site that has this machine's address under a name of its own (DNS rebinding) names that host. One that
    asks from elsewhere has another origin; a websocket must say its own.
    """
    host = request.headers.get_list("Host")
    name = _name(host[0]) if len(host) == 1 else None
    if name is None or (names is not None and name not in names):
        return 403, "This server answers only under its own address.\n"
    origins = request.headers.get_list("Origin")
    if any(origin.lower() != f"http://{host[0].lower()}" for origin in origins):
        return 403, "This server answers only its own pages.\n"
    if request.path == "/ws" and not origins:
        return 403, "A websocket must say its origin.\n"
    if request.method not in ("GET", "HEAD"):
        return 405, "This server is only read.\n"
    return None if PATHS.fullmatch(request.path) else (404, "There is no such page.\n")


def _name(host: str) -> str | None:
    """The name in a Host header; None where it is none."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", host):
        return None
    return urlsplit(f"//{host}").hostname


def _same(given: bytes, token: str) -> bool:
    return hmac.compare_digest(given, token.encode())


class Said(RequestHandler):
    """An answer that is a sentence."""

    def initialize(self, status: int, text: str) -> None:
        self.status, self.text = status, text

    def prepare(self) -> None:
        self.set_status(self.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.text)


class Entrance(RequestHandler):
    """Takes the token out of the address into a cookie, and goes on. A page does that, no redirect: what follows is then
    asked by this server's own page, and the cookie, which no other site's link may bring along, goes with it."""

    def initialize(self, name: str, token: str) -> None:
        self.name, self.token = name, token

    def get(self) -> None:
        self.set_cookie(self.name, self.token, httponly=True, samesite="Strict", path="/")
        self.write('<!doctype html><meta http-equiv="refresh" content="0;url=/"><a href="/">The explorer</a>')


class Headers(OutputTransform):
    """Adds to every answer what browsers are to keep to: nothing is fetched from elsewhere, and no other page reads or
    frames this one. BokehJS makes functions of the text of callbacks, and writes style elements."""

    def __init__(self, request: HTTPServerRequest, frames: str) -> None:
        host = request.headers.get("Host", "")
        socket = f" ws://{host}" if _name(host) else ""  # older Safari does not count it as 'self'
        self.policy = (
            "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data: blob:; font-src data:; connect-src 'self'{socket}; base-uri 'none'; "
            f"form-action 'none'; frame-ancestors {frames}"
        )

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["Content-Security-Policy"] = self.policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers.pop("Access-Control-Allow-Origin", None)
        headers.pop("Server", None)
        if headers.get("Content-Type", "").startswith("text/"):
            headers["Cache-Control"] = "no-store"
        return status_code, headers, chunk
