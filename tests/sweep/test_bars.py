"""Progress of `run` and `analyze` called from Python: seen on a terminal, silent elsewhere, without effect on the bits."""

import builtins
import io
import os
import pty
import subprocess
import sys

import jax
import numpy as np
import pytest
import rich
from rich.console import Console
from rich.live import Live
from test_sweep import tiny

from toylab import display, sweep
from toylab.analysis import analyze
from toylab.base import Run
from toylab.configs import stack
from toylab.train import data

SPEC = sweep.Spec([0, 2, 4])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """From here on: pytest sets a stdout of its own before a test, after its fixtures."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    return out


def trained(folder, **options):
    sweep.run([tiny(), tiny(1)], SPEC, folder, lane=1, **options)
    return sweep.load(folder)


def weights(params, run):
    return {"norm": (params["W_E"] ** 2).sum()}


def analyzed(found, **options):
    configs = stack([tiny(), tiny(1)])
    run = Run(configs, jax.vmap(data, in_axes=(jax.tree.map(lambda x: 0 if np.ndim(x) else None, configs),))(configs))
    return analyze(weights, dict(found.params), run, **options)["norm"]


def test_nothing_is_printed_where_nobody_watches(tmp_path, capfd):
    analyzed(trained(tmp_path))
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err == ""


def test_bars_on_a_terminal_change_no_bits(tmp_path, monkeypatch):
    terminal = on_terminal(monkeypatch)
    quiet = trained(tmp_path / "quiet", report=None)
    silent = analyzed(quiet, report=None)
    assert terminal.getvalue() == ""
    shown = trained(tmp_path / "shown")
    assert "step 4/4" in terminal.getvalue() and "ended 0/2" in terminal.getvalue()
    for name, value in quiet.params.items():
        np.testing.assert_array_equal(value, shown.params[name])
    np.testing.assert_array_equal(analyzed(shown), silent)
    assert "analyzed 6/6 points" in terminal.getvalue()


def test_a_report_of_ones_own_is_called_and_nonsense_refused(tmp_path):
    reports, ticks = [], []
    found = trained(tmp_path, report=reports.append)
    assert reports[-1].step == 4
    analyzed(found, report=lambda done, total: ticks.append((done, total)), batch_size=2)
    assert ticks[-1] == (6, 6) and [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    with pytest.raises(ValueError, match=r"^report is 'loud': it must be a function"):
        trained(tmp_path / "other", report="loud")
    with pytest.raises(ValueError, match=r"^report is 3: it must be a function"):
        analyzed(found, report=3)


@pytest.mark.parametrize("options", ["", ", report=None"])
def test_a_script_shows_bars_on_a_real_terminal(tmp_path, options):
    script = (
        "import numpy as np; from toylab.analysis import analyze; from toylab.base import Run\n"
        "ones = {'w': np.ones((2, 3, 4), np.float32)}\n"
        f"analyze(lambda params, run: {{'sum': params['w'].sum()}}, ones, Run(None, None){options})"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # Linux: the other end is closed
            pass
        errors = process.stderr.read().decode()
    os.close(ours)
    assert process.returncode == 0, errors
    assert b"analyzed 6/6 points" in shown if not options else shown == b""


def test_jupyter_shows_bars_where_it_has_widgets(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "ipywidgets", raising=False)
    assert not display.is_watched()
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    assert not display.is_watched()
    (tmp_path / "ipywidgets.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert display.is_watched()


def test_the_last_state_is_shown_in_jupyter(monkeypatch):
    monkeypatch.setattr(rich, "_console", Console(force_jupyter=True))
    drawn, seen = [], []
    monkeypatch.setattr(
        Live, "refresh", lambda live: drawn.extend([task.completed for bars in seen for task in bars.rich.tasks])
    )
    with display.bars() as bars:
        seen.append(bars)
        bars.rich.live._refresh_thread.stop()
        bars.update("analyze", 6, 6, "analyzed 6/6 points")
        drawn.clear()
    assert drawn == [6]
