"""`toylab explore` and `toylab export`: what they refuse, and what they say."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path

import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from toylab.cli import explore as command
from toylab.cli.main import main
from toylab.explore import View, notebook, own
from toylab.explore.views import built_in

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "results" / "grokking"
OWN = """
from toylab.explore import Bars, view

@view("lengths", family="mine", title="Lengths", needs=("W_E",))
def lengths(moment):
    return Bars([1.0, 2.0], "Lengths")
"""


@pytest.fixture
def mine(tmp_path) -> Path:
    file = tmp_path / "my_own_views.py"
    file.write_text(OWN)
    before = list(sys.path)
    yield file
    sys.path[:] = before
    sys.modules.pop("my_own_views", None)


def refused(arguments, capfd):
    """The one line on stderr."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    said = capfd.readouterr()
    assert status == 2 and said.out == "" and said.err.count("\n") == 1, said
    return said.err


@pytest.mark.parametrize("word", ["explore", "export"])
def test_a_folder_that_is_no_sweep_is_refused(word, tmp_path, capfd):
    more = ["--out", tmp_path / "x.html"] if word == "export" else ["--no-browser"]
    assert "is not there" in refused([word, tmp_path / "nowhere", *more], capfd)
    assert "give the folder of a page" in refused([word, tmp_path, *more], capfd)
    assert "is a folder of pages" in refused([word, REPOSITORY / "results", *more], capfd)
    assert "is a file" in refused([word, REPOSITORY / "README.md", *more], capfd)
    assert not (tmp_path / "x.html").exists()


def test_the_extra_missing_is_told_in_a_sentence(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("toylab.explore.serving.needed.find_spec", lambda name: None)
    said = "The explorer needs its extra: pip install 'toylab[explore]'.\n"
    assert refused(["explore", PAGE], capfd) == said
    assert refused(["export", PAGE, "--out", tmp_path / "x.html"], capfd) == said
    with pytest.raises(ValueError, match="pip install"):
        notebook.show(PAGE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explore"], "the following arguments are required: folder."),
        (["explore", PAGE, "--port", "0"], "--port: invalid number from 1 to 65535 value: '0'."),
        (["explore", PAGE, "--port", "70000"], "--port: invalid number from 1 to 65535 value: '70000'."),
        (["explore", PAGE, "--prt", "1"], "--prt is no option: did you mean --port?"),
        (["explore", PAGE, "--port", "8000", "--port", "8001"], "--port is given twice"),
        (["explore", PAGE, "--host", ""], "--host: it is empty."),
        (["explore", PAGE, "--host", "no.such.host.invalid"], "--host is no.such.host.invalid: this machine"),
        (
            ["explore", PAGE, "--view", "nothing.py"],
            "--view is nothing.py: there is no file nothing.py; give the path of one with views of yours.",
        ),
        (
            ["export", PAGE, "--out", "x.html", "--views", "spectra, weights"],
            f"cannot be shown in: {PAGE} holds measures without the weights",
        ),
        (["export", PAGE, "--out", "x.html", "--views", "gram"], "--views has gram, which "),
        (["explore", PAGE, "--view", "nothing"], "--view is nothing: give the path of a .py file, or a module"),
        (["explore", PAGE, "--view", "no_such_package.views"], "--view is no_such_package.views: there is no module"),
        (["explore", PAGE, "--view", "toylab.explore.moment"], "--view is toylab.explore.moment: it has no views"),
        (["explore", PAGE, "--analyzer", "a.b:c"], "--analyzer is a.b:c: there are no weights. "),
        (["export", PAGE], "the following arguments are required: --out."),
        (["export", PAGE, "--out", "x.pdf"], "--out is x.pdf: give a file as page.html."),
        (["export", PAGE, "--out", "nowhere/x.html"], "--out is nowhere/x.html: there is no folder nowhere;"),
        (["export", PAGE, "--out", "x.html", "--points", "0"], "--points is 0: it must be at least 1."),
        (["export", PAGE, "--out", "x.html", "--points", "many"], "--points: invalid int value: 'many'."),
        (["export", PAGE, "--out", "x.html", "--views", "circels"], "--views has circels, which is no view: there are "),
        (["export", PAGE, "--out", "x.html", "--part", "x"], "--part is x: this page has no parts: leave it out."),
        (["export", PAGE, "--out", "x.html", "--runs", "zzz"], "--runs has 'zzz', which is no run: there are "),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, said, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(arguments, capfd)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_views_that_raises_is_told_with_its_traceback(tmp_path, capfd):
    (tmp_path / "broken_views.py").write_text("1 / 0\n")
    assert main(["explore", str(PAGE), "--view", str(tmp_path / "broken_views.py")]) == 2
    err = capfd.readouterr().err
    assert "ZeroDivisionError" in err and err.splitlines()[-1].startswith("--view is ")
    assert "it raised while it was imported" in err


def test_own_views_are_found_by_file(mine):
    (found,) = own.views_of(str(mine))
    assert isinstance(found, View) and (found.name, found.family) == ("lengths", "mine")


class Adding:
    """A recording with weights: what analyzers it was given."""

    def __init__(self) -> None:
        self.added, self.no_params = [], ""
        self.on_demand = self

    def add(self, name):
        self.added.append(name)


def test_analyzers_are_added_to_all_parts_that_have_weights():
    one, other, without = Adding(), Adding(), Adding()
    without.on_demand = None
    own.with_analyzers({"a": one, "b": without, "c": other}, ["x:y", "z:w"])
    assert one.added == other.added == ["x:y", "z:w"] and without.added == []


def test_views_are_chosen_by_name_in_the_order_asked():
    a, b = (View(name, "x", name, lambda moment: [], lambda moment: "") for name in "ab")
    assert own.chosen([a, b], ["b", "a"]) == [b, a] and own.chosen([a, b], []) == [a, b]
    names = [one.name for one in built_in()]
    assert len(set(names)) == len(names) and not any("," in name for name in names)


class Standing:
    """What a server says of itself."""

    url, port = "http://127.0.0.1:8001/", 8001


def told(arguments, capfd):
    options = command_line(arguments)
    command._tell(Standing, options)
    (line,) = capfd.readouterr().out.splitlines()
    return line


def command_line(arguments):
    found = {"port": 0, "no_browser": False, "folder": Path("results/x"), **arguments}
    return type("Options", (), found)


def test_it_says_where_it_is_in_one_line(capfd, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(webbrowser, "get", lambda: object())
    line = "results/x is at http://127.0.0.1:8001/; Ctrl-C ends it."
    assert told({"no_browser": True}, capfd) == line and opened == []
    assert told({}, capfd) == line
    until = time.monotonic() + 5
    while not opened and time.monotonic() < until:
        time.sleep(0.01)
    assert opened == [Standing.url]
    assert (
        told({"port": 8000}, capfd) == "results/x is at http://127.0.0.1:8001/ (port 8000 is in use); Ctrl-C ends it."
    )


def test_without_a_browser_it_prints_the_address(capfd, monkeypatch):
    def none():
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    assert told({}, capfd).endswith("Ctrl-C ends it. No browser was found: open that address in one.")
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))  # would take the terminal
    assert "No browser was found" in told({}, capfd)


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "toylab", "explore", str(PAGE), "--no-browser", "--port", str(port)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip
        line = process.stdout.readline()
    said = re.fullmatch(
        rf".*grokking is at http://127\.0\.0\.1:(\d+)/ \(port {port} is in use\); Ctrl-C ends it\.\n", line
    )
    assert said and port < int(said[1]) < port + 100
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_notebook_gets_a_frame_or_an_exported_page(monkeypatch):
    from served_recording import Small, matrix

    shown = notebook.shown({"": Small()}, [matrix], remote=False)
    with contextlib.closing(socket.create_connection(("127.0.0.1", shown.server.port), 5)):
        pass
    assert f'<iframe src="{shown.url}"' in shown._repr_html_() and shown.url in repr(shown)
    shown.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", shown.server.port), 1)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/x/")
    away = notebook.shown({"": Small(title='a "b" <script>')}, [matrix], points=2)
    text = away._repr_html_()
    assert text.startswith('<iframe srcdoc="') and 'sandbox="allow-scripts"' in text and "<script>" not in text
    assert away.url == ""


def test_a_notebook_needs_a_folder_or_arrays():
    with pytest.raises(ValueError, match="give a folder, or arrays"):
        notebook.show()
    with pytest.raises(ValueError, match="give a folder, or arrays"):
        notebook.show(PAGE, params={})
