"""What another machine may lack: an encoding, a home."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "run_sweep.py",
    *(path for name in ("toylab", "experiments", "docs") for path in (ROOT / name).rglob("*.py")),
]
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # the locale says no UTF-8, and is believed


def run(*arguments, **environment):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False)


def test_what_is_written_is_utf8_whatever_the_locale(tmp_path):
    code = "import sys, pathlib\nfrom toylab import store\nstore.write_json(pathlib.Path(sys.argv[1]), {'λ': '≥'})"
    (tmp_path / "write.py").write_text(code, "utf-8")
    done = run(tmp_path / "write.py", tmp_path / "a.json", **ASCII)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"λ": "≥"}


def test_what_a_terminal_cannot_show_is_escaped():
    done = run(ROOT / "run_sweep.py", "--list", **ASCII)
    assert done.returncode == 0 and done.stdout.isascii(), done.stderr
    assert ast.literal_eval(f'"""{done.stdout}"""') == run(ROOT / "run_sweep.py", "--list", PYTHONUTF8="1").stdout


def test_text_is_read_and_written_in_a_stated_encoding():
    unstated = re.compile(r"""\.read_text\(\)|(?<!store)\.write_text\((?!.*"utf-8")|open\((.*, )?"[arwx]\+?"\)""")
    found = [
        f"{path.name}: {line}"
        for path in FILES
        for line in path.read_text("utf-8").split("\n")
        if unstated.search(line)
    ]
    assert found == []


def test_no_home_and_a_folder_with_a_space_are_enough(tmp_path):
    (tmp_path / "a b").mkdir()
    ask = ["grokking", "--scale", "smoke", "--dry-run", "--out", tmp_path / "a b"]
    without = {key: value for key, value in os.environ.items() if key not in ("HOME", "PATH")}
    command = [sys.executable, *map(str, [ROOT / "run_sweep.py", *ask])]
    done = subprocess.run(command, env=without, cwd=tmp_path / "a b", capture_output=True, timeout=120, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert not list((tmp_path / "a b").iterdir())
