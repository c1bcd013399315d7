"""Several processes on one sweep: whoever trains a group, and whoever dies, the bits are those of one process alone."""

import os
import re
import signal
import socket
import subprocess

import pytest
from cluster_sweep import SWEEP, groups
from processes import pinned, same, wait_until
from tiny_sweeps import A

from toylab import store, sweep
from toylab.launch import processes
from toylab.launch.processes import Place

ALONE = SWEEP + "sweep.run(runs, spec, out, plan=plan, group_size=2)"
JOINED = (
    SWEEP
    + """
from toylab.launch import processes
tell = lambda progress: print(progress.group, progress.step, *progress.messages, flush=True)
processes.run(runs, spec, out, place=processes.place(int(sys.argv[2])), plan=plan, report=tell)
"""
)
DISTRIBUTED = (
    SWEEP
    + """
from toylab.launch import processes
import jax
with processes.joined(sys.argv[2]) as place:
    assert jax.process_count() == place.count == 2 and len(jax.devices()) == 2 == 2 * len(jax.local_devices())
    tell = lambda progress: print(progress.group, progress.step, *progress.messages, flush=True)
    processes.run(runs, spec, out, place=place, plan=plan, report=tell)
print("left", flush=True)
"""
)
SPEC = sweep.Spec(saves=(0, 5))
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert pinned("-c", ALONE, folder).wait(300) == 0
    return groups(folder)


def as_if_alone(folder, alone):
    found = groups(folder)
    return set(found) == set(alone) and all(same(found[name], alone[name]) for name in alone)


def met(folder):
    """Two processes of jax.distributed, in order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [pinned("-c", DISTRIBUTED, folder, f"{address},2,{i}", **PIPES) for i in range(2)]


@pytest.mark.slow
def test_two_processes_of_jax_distributed_share_the_groups_and_give_the_same_bits(tmp_path, alone):
    both = met(tmp_path)
    output = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    assert as_if_alone(tmp_path, alone)
    first = [out.split(maxsplit=1)[0][:3] for out, _ in output]
    assert first == ["000", "001"] and all(out.endswith("left\n") for out, _ in output)


@pytest.mark.slow
def test_a_process_goes_on_with_the_group_of_one_that_was_killed(tmp_path, alone):
    killed, other = (pinned("-c", JOINED, tmp_path, 2, **PIPES) for _ in range(2))
    wait_until(lambda: len(list(tmp_path.glob("*/*/info"))) >= 4, killed)
    owner = store.read_json(tmp_path / sorted(alone)[0] / "owner.json")["pid"]
    assert owner in (killed.pid, other.pid)
    os.kill(owner, signal.SIGKILL)
    output = [process.communicate(timeout=200) for process in (killed, other)]
    assert sorted(process.returncode for process in (killed, other)) == [-signal.SIGKILL, 0], output
    assert as_if_alone(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_of_jax_distributed_too_whichever_is_killed(tmp_path, alone, which):
    both = met(tmp_path)
    name = sorted(alone)[which]  # each begins with one of its own
    wait_until(lambda: len(list(tmp_path.glob(f"{name}/*/info"))) >= 2, both[which])
    os.kill(both[which].pid, signal.SIGKILL)
    (_, _), (out, err) = (process.communicate(timeout=200) for process in (both[which], both[1 - which]))
    assert [both[which].returncode, both[1 - which].returncode] == [-signal.SIGKILL, 0], err
    assert as_if_alone(tmp_path, alone) and out.endswith("left\n")
    assert not re.search("Traceback|Fatal|Check failed|coordination", err), err  # XLA may warn of its compile cache


def test_who_joins_while_another_analyzes_says_whom_it_waits_for_and_hears_that_it_shall_stop(tmp_path, monkeypatch):
    output, asked = [], []
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)

    def report(progress):
        output.extend(progress.messages)
        asked.append(True)

    with store.locked(tmp_path), pytest.raises(sweep.Interrupted, match=f"is held by process {os.getpid()} on "):
        processes.run([A], SPEC, tmp_path, place=Place(), report=report, interrupted=lambda: bool(asked))
    assert output == [f"{tmp_path.name} is held by process {os.getpid()} on {os.uname().nodename}: waiting for it."]


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("node1", "must be HOST:PORT,N,I"),
        ("node1:x,2,0", "must be HOST:PORT,N,I"),
        ("node1:99,2", "must be HOST:PORT,N,I"),
        ("node1:99,2,2", "the processes of 2 are 0 to 1"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(where, fault):
    with pytest.raises(ValueError, match=fault), processes.joined(where):
        raise AssertionError("joined")


def test_a_place_is_what_was_said_or_what_the_slurm_array_is(monkeypatch):
    assert processes.place() == Place(0, 1) and processes.place(3) == Place(0, 3)
    for name, value in {"ID": 13, "MIN": 10, "COUNT": 8}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert processes.place() == Place(3, 8) and processes.place(2) == Place(1, 2)
    with pytest.raises(ValueError, match="--join is -1"):
        processes.place(-1)
