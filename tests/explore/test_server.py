"""The explorer's server: who is answered, what is served, and how it begins and ends."""

import http.client
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from served_recording import Small, matrix
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from toylab.explore.serving import guard
from toylab.explore.serving.figures import figure_files
from toylab.explore.serving.server import Server, listening

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("page") / "figures"
    found.mkdir()
    (found / "a.png").write_bytes(PNG)
    (found.parent / "secret.png").write_bytes(b"secret")
    return found


@pytest.fixture(scope="module")
def server(folder):
    recording = Small()
    recording.figures = {"a": "a.png", "outside": "../secret.png", "gone": "gone.png"}
    server = Server({"": recording}, [matrix], figures=folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def with_token():
    """As `--host 0.0.0.0`: any name, and a token."""
    server = Server({"": Small()}, [matrix], host="0.0.0.0")
    server.start()
    yield server
    server.stop()


def ask(server, path, headers=None, method="GET"):
    """Status, headers and text of an answer. `headers` may have another Host."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Host": f"127.0.0.1:{server.port}", **(headers or {})}
    connection.putrequest(method, path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, text


def test_it_listens_on_this_machine_alone_and_its_page_is_served(server):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.url) and not server.token
    assert server.socket.getsockname()[0] == "127.0.0.1"
    status, _, text = ask(server, "/")
    assert status == 200 and b"<title>small</title>" in text


def test_nothing_of_a_page_comes_from_elsewhere(server):
    _, headers, text = ask(server, "/")
    fetched = re.findall(rb"""(?:src|href)=["']([^"']+)""", text)
    assert len(fetched) >= 3 and all(one.startswith(b"/static/js/") for one in fetched)
    for one in fetched:
        assert ask(server, one.decode())[0] == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_the_environment_cannot_bring_a_cdn_back(server, monkeypatch):
    monkeypatch.setenv("BOKEH_RESOURCES", "cdn")
    assert b"cdn" not in ask(server, "/")[2].lower()


def test_every_answer_says_what_browsers_keep_to(server):
    for path in ("/", "/static/js/bokeh.min.js", "/figure/0", "/nowhere"):
        headers = ask(server, path)[1]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
        assert headers["Access-Control-Allow-Origin"] is None and headers["Server"] is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.1@evil", "", "10.0.0.1"]
)
def test_another_host_is_refused(server, host):
    """As a page with a name that was made to lead to this machine would say (DNS rebinding)."""
    status, _, text = ask(server, "/", {"Host": host.format(port=server.port)})
    assert status in (400, 403) and b"Bokeh" not in text


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1", "LOCALHOST:9000", "[::1]:{port}"])
def test_own_names_are_answered_at_any_port(server, host):
    """Another port is what a tunnel (ssh -L 9000:localhost:…) has."""
    assert ask(server, "/figure/0", {"Host": host.format(port=server.port)})[0] == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "http://localhost:{port}"],
)
def test_another_origin_is_refused(server, origin):
    assert ask(server, "/", {"Origin": origin.format(port=server.port)})[0] == 403


@pytest.mark.parametrize(
    "path",
    ["/../secret.png", "/figure/../../secret.png", "/figure/%2e%2e/secret.png", "/figure/1", "/figure/2", "/figure/99",
     "/figure/a.png", "/figure/-1", "/figure/0/", "/static/js/../../../server.py", "/static/js/compiler.js",
     "/static/extensions/x/y", "/autoload.js", "/metadata", "/figures/a.png", "//figure/0"],
)  # fmt: skip
def test_no_path_is_taken_from_an_address(server, path):
    """Figure 1 has a file name that leads outside, and is no figure; file 2 is gone."""
    status, _, text = ask(server, path)
    assert status in (400, 404) and b"secret" not in text and len(text) < 200


def test_figures_are_served_by_number(server, folder):
    status, headers, content = ask(server, "/figure/0")
    assert (status, headers["Content-Type"], content) == (200, "image/png", PNG)
    two = {"a": server.parts[""], "b": server.parts[""]}
    assert figure_files(two, folder) == 2 * [folder / "a.png", None, folder / "gone.png"]
    assert figure_files(two, None) == [None] * 6


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_only_read(server, method):
    assert ask(server, "/", method=method)[0] == 405


def websocket(server, headers):
    """What becomes of a websocket with these headers: "open", or the status."""

    async def attempt():
        request = HTTPRequest(f"ws://127.0.0.1:{server.port}/ws", headers=headers)
        try:
            connection = await websocket_connect(request, subprotocols=["bokeh", "x"])
        except Exception as error:
            return getattr(error, "code", str(error))
        connection.close()
        return "open"

    return IOLoop(make_current=False).run_sync(attempt)


def test_a_websocket_must_come_from_the_own_page(server, with_token):
    own = f"http://127.0.0.1:{server.port}"
    assert websocket(server, {}) == 403
    assert websocket(server, {"Origin": "http://evil.example"}) == 403
    assert websocket(server, {"Origin": own + "0"}) == 403
    assert websocket(server, {"Origin": own}) != 403
    assert websocket(with_token, {"Origin": f"http://127.0.0.1:{with_token.port}"}) == 403


def test_where_others_reach_it_a_token_is_asked(with_token):
    assert len(with_token.token) >= 32 and with_token.url.endswith(f"/?token={with_token.token}")
    for path in (
        "/",
        "/?token=",
        "/?token=wrong",
        "/figure/0",
        "/static/js/bokeh.min.js",
        f"/figure/0?token={with_token.token}",
    ):
        status, headers, text = ask(with_token, path)
        assert status == 403 and "Set-Cookie" not in headers and with_token.token.encode() not in text
    status, headers, text = ask(with_token, f"/?token={with_token.token}")
    assert status == 200 and b"refresh" in text and with_token.token.encode() not in text
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and cookie.startswith(f"toylab-{with_token.port}=")
    kept = {"Cookie": cookie.partition(";")[0]}
    assert ask(with_token, "/", kept)[0] == 200
    assert b"refresh" in ask(with_token, f"/?token={with_token.token}", kept)[2]
    assert ask(with_token, "/", {"Cookie": kept["Cookie"][:-1]})[0] == 403
    assert ask(with_token, "/", {**kept, "Origin": "http://evil.example"})[0] == 403


def test_the_token_stays_out_of_the_page(with_token):
    """Bokeh keeps cookies and headers of a request in what it sends back: not these."""
    cookie = {"Cookie": f"toylab-{with_token.port}={with_token.token}"}
    text = ask(with_token, "/", cookie)[2]
    import base64

    assert with_token.token.encode() not in text
    for long in re.findall(rb'"token":"([^"]+)"', text):
        for part in long.split(b"."):
            assert with_token.token.encode() not in base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def test_tokens_differ():
    one, other = (Server({"": Small()}, [], host="0.0.0.0") for _ in range(2))
    assert one.token != other.token
    one.socket.close(), other.socket.close()


def test_notebooks_of_this_machine_may_frame_it_if_asked():
    server = Server({"": Small()}, [matrix], in_notebooks=True)
    server.start()
    ancestors = ask(server, "/")[1]["Content-Security-Policy"].partition("frame-ancestors ")[2]
    server.stop()
    assert ancestors == guard.OF_NOTEBOOKS and "*" not in ancestors.replace(":*", "")


def test_a_port_in_use_gives_the_next():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listener, found = listening("127.0.0.1", port)
        listener.close()
    assert port < found < port + 100


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [("no.such.host.invalid", 0, "--host is no.such.host"), ("203.0.113.7", 0, "--host is 203.0.113.7")],
)
def test_an_address_that_this_machine_lacks_is_refused(host, port, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        listening(host, port)


def test_many_tabs_and_new_points_in_all_of_them():
    recording = Small()
    server = Server({"": recording}, [matrix])
    server.start()
    for _ in range(3):
        assert ask(server, "/")[0] == 200
    assert len(server.pages) == 3
    recording.grow(2)
    until = time.monotonic() + 5
    while time.monotonic() < until and {page.slider.end for page in server.pages.values()} != {7}:
        time.sleep(0.05)
    assert {page.slider.end for page in server.pages.values()} == {7}
    server.stop()


def test_what_fails_in_the_background_is_told_on_the_page_and_it_goes_on():
    recording = Small()
    look = recording.refresh

    def broken():
        raise OSError("the disk is gone")

    recording.refresh = broken
    server = Server({"": recording}, [matrix])
    server.start()
    assert ask(server, "/")[0] == 200
    (page,) = server.pages.values()
    said = "Looking for new points failed: the disk is gone"
    until = time.monotonic() + 10
    while said not in page._head.messages.text and time.monotonic() < until:
        time.sleep(0.05)
    assert said in page._head.messages.text
    recording.refresh = look
    recording.grow(1)
    while page.slider.end != 6 and time.monotonic() < until:
        time.sleep(0.05)
    assert page.slider.end == 6 and said not in page._head.messages.text
    server.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_it_with_0_and_without_a_traceback(tmp_path):
    script = tmp_path / "serve.py"
    script.write_text(
        "from served_recording import Small, matrix\nfrom toylab.explore.serving.server import Server\n"
        "server = Server({'': Small()}, [matrix])\nserver.run(lambda: print(server.url, flush=True))\n"
    )
    here = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here / 'tests' / 'shared'}"}
    process = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_closed_tab_is_no_news_on_the_terminal_and_what_fails_is():
    server = Server({"": Small()}, [matrix])

    def is_news(name, said):
        return server._is_news(logging.LogRecord(name, logging.WARNING, "", 0, said, None, None))

    assert not is_news("bokeh.server.views.ws", "Failed sending message as connection was closed")
    assert is_news("bokeh.server.views.ws", "another") and is_news("bokeh.server.protocol_handler", "error handling")
    server._ended.set()
    assert not is_news("bokeh.server.protocol_handler", "error handling")
    server.socket.close()
