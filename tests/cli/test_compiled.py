"""Compiled programs are kept between processes, whole or not at all, and no run stops for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toylab.cli import compiled, main
from toylab.cli.compiled import Programs, folder_in

SMALL = """
import jax, numpy as np
from toylab.cli import compiled
compiled.keep()
taken = []
event = lambda name, **_: taken.append(name)
jax.monitoring.register_event_listener(event)
x = np.linspace(0, 9, 1000, dtype=np.float32)
print(np.asarray(jax.jit(lambda x: jax.numpy.sort(jax.numpy.sin(x) @ jax.numpy.outer(x, x)))(x)).tobytes().hex())
print(sum(name.endswith("/cache_hits") for name in taken))
"""


def started(folder, code=SMALL, **environment):
    """Output lines of a process of its own, and its stderr."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "TOYLAB_CACHE"))}
    ours |= {"JAX_PLATFORMS": "cpu", "TOYLAB_CACHE": str(folder), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=ours, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow  # four processes that import JAX
def test_a_second_process_takes_what_the_first_compiled_with_the_same_bits(tmp_path):
    off, _ = started("off")
    (first, hits), _ = started(tmp_path)
    assert off == [first, "0"] and hits == "0"
    programs = sorted(tmp_path.iterdir())
    assert programs
    (second, hits), _ = started(tmp_path)
    assert second == first and int(hits) >= 1 and sorted(tmp_path.iterdir()) == programs
    for path in programs:  # one bit in the middle of each
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
    (third, hits), said = started(tmp_path)
    assert third == first and hits == "0" and not said
    assert sorted(tmp_path.iterdir()) == programs  # written anew


@pytest.mark.slow  # two processes that import JAX
def test_a_folder_that_cannot_be_written_stops_nothing_and_is_told(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    (found, hits), said = started(in_the_way)
    assert hits == "0" and len(said.splitlines()) == 1 and "compiled programs are not kept" in said
    assert started("off")[0][0] == found


def test_a_program_comes_back_as_it_was(tmp_path):
    programs = Programs(tmp_path)
    assert programs.get("key") is None
    programs.put("key", b"program")
    programs.put("key", b"program")
    assert programs.get("key") == b"program" and len(list(tmp_path.iterdir())) == 1
    assert programs.get("another") is None


@pytest.mark.parametrize("n", [0, 1, 31, 32, 38])
def test_a_program_that_was_cut_short_is_none_and_is_removed(tmp_path, n):
    programs = Programs(tmp_path)
    programs.put("key", b"program")
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:n])
    assert programs.get("key") is None and not path.exists()
    programs.put("key", b"program")
    assert programs.get("key") == b"program"


def test_every_flipped_bit_is_noticed(tmp_path):
    programs = Programs(tmp_path)
    programs.put("key", b"program")
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert programs.get("key") is None
    path.write_bytes(whole)
    assert programs.get("key") == b"program"


def test_a_program_of_another_processor_is_not_taken(tmp_path, monkeypatch):
    Programs(tmp_path).put("key", b"program")
    monkeypatch.setattr(compiled, "_machine", lambda: "another")
    other = Programs(tmp_path)
    assert other.get("key") is None
    other.put("key", b"other")
    assert other.get("key") == b"other"


def test_a_folder_that_cannot_be_made_is_passed_over_and_told_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    programs = Programs(tmp_path / "file" / "compiled")
    for _ in range(3):
        programs.put("key", b"program")
        assert programs.get("key") is None
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "compiled programs are not kept" in said and "TOYLAB_CACHE" in said


def test_the_folder_is_made_for_the_first_program_alone(tmp_path):
    programs = Programs(tmp_path / "a" / "b")
    assert programs.get("key") is None and not (tmp_path / "a").exists()
    programs.put("key", b"program")
    assert programs.get("key") == b"program"


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    programs = Programs(tmp_path)
    for i in range(4):
        programs.put(f"{i}", bytes(1000))
    for i, path in enumerate(programs._place(f"{i}") for i in range(4)):
        os.utime(path, (i, i))
    assert programs.get("0") is not None  # used now
    compiled._within(tmp_path, 2500)
    assert [programs.get(f"{i}") is not None for i in range(4)] == [True, False, False, True]
    compiled._within(tmp_path, 2500)
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_are_no_programs_are_never_removed(tmp_path):
    """As where TOYLAB_CACHE names a folder with other things in it."""
    Programs(tmp_path).put("key", bytes(1000))
    (tmp_path / f".{64 * 'a'}.0123456789abcdef").write_bytes(bytes(1000))  # of a write that was cut short
    (tmp_path / "thesis.txt").write_bytes(bytes(1000))
    (tmp_path / (64 * "b")).mkdir()
    compiled._within(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [64 * "b", "thesis.txt"]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "much"])
def test_a_limit_that_is_none_is_refused(tmp_path, monkeypatch, capsys, text):
    monkeypatch.setenv("TOYLAB_CACHE_MB", text)
    assert main.run_sweep(["grokking", "--scale", "smoke", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f"TOYLAB_CACHE_MB is {text!r}: give a whole number of megabytes, at least 1, as 1000.\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_folder_is_that_of_the_users_caches(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert folder_in({}) == Path("/home/me/.cache/toylab/compiled")
    assert folder_in({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/toylab/compiled")
    assert folder_in({"XDG_CACHE_HOME": "relative"}) == folder_in({})  # as that specification says
    assert folder_in({"TOYLAB_CACHE": "/mine", "XDG_CACHE_HOME": "/caches"}) == Path("/mine")
    assert folder_in({"TOYLAB_CACHE": "off"}) is None and folder_in({"TOYLAB_CACHE": "OFF"}) is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert folder_in({}) == Path("/home/me/Library/Caches/toylab/compiled")


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert folder_in({}) is None and folder_in({"TOYLAB_CACHE": "/mine"}) == Path("/mine")
    assert folder_in({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/toylab/compiled")
    assert folder_in({"TOYLAB_CACHE": "~nobody-here/x"}) == Path("~nobody-here/x").absolute()


def test_tests_share_no_cache_with_the_user(tmp_path, monkeypatch):
    """JAX_COMPILATION_CACHE_DIR of this session stands, and nothing is made elsewhere."""
    monkeypatch.setenv("TOYLAB_CACHE", str(tmp_path / "compiled"))
    assert os.environ["JAX_COMPILATION_CACHE_DIR"]
    compiled.keep()
    assert not (tmp_path / "compiled").exists()
