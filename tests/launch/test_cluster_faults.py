"""Workers, machines and drivers that die, on a Ray cluster of two machines within this one: no bit of the sweep changes."""

import json
import shlex
import subprocess
from types import SimpleNamespace

import pytest
from cluster_sweep import SWEEP, groups
from processes import COMMAND, everything, n_chunks, pinned, same, start, wait_until

from toylab import store

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


STRAIGHT = SWEEP + "sweep.run(runs, spec, out, plan=plan, group_size=3)"

TWO_MACHINES = (
    SWEEP
    + """
warnings.simplefilter("ignore")
import ray
from ray.cluster_utils import Cluster
from toylab.launch import ray as cluster

machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
added = [machines.add_node(num_cpus=1) for _ in range(2)]

def first_group(folder):
    '''Once its second chunk is there: its folder, and the worker that has it.'''
    while True:
        for group in sorted(folder.glob("000-*")):
            if sum(path.name.isdecimal() for path in group.iterdir()) >= 2:
                return json.loads((group / "owner.json").read_text())["pid"]
        time.sleep(0.01)

def kill_worker(folder):
    os.kill(first_group(folder), signal.SIGKILL)

def remove_machine(folder):
    parent = int(Path(f"/proc/{first_group(folder)}/stat").read_text().split()[3])
    (node,) = [n for n in added if any(p.process.pid == parent for p in n.all_processes["raylet"])]
    machines.remove_node(node, allow_graceful=False)

def train(name, runs, harm):
    folder, output = out / name, []
    folder.mkdir()
    threading.Thread(target=harm, args=[folder], daemon=True).start()
    try:
        tell = lambda progress: output.extend(progress.messages)
        cluster.run(runs, spec, folder, plan=plan, group_size=3, command="THE COMMAND", report=tell)
    except sweep.Failed as error:
        output.append(str(error))
    (out / f"{name}.json").write_text(json.dumps(output))

configs.checked = list  # the driver lets it pass, so that only its worker finds out
with cluster.connected(machines.address):
    train("worker", [*runs, wrong], kill_worker)
    train("machine", runs, remove_machine)
machines.shutdown()
"""
)

WITHOUT_HEAD = (
    SWEEP
    + """
warnings.simplefilter("ignore")
import ray
from ray.cluster_utils import Cluster
from toylab.launch import ray as cluster

machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
machines.add_node(num_cpus=1)
(head,) = machines.head_node.all_processes["gcs_server"]
spec = sweep.Spec(saves=range(0, 400 * 100_000, 400))

def lose():
    while not list(out.glob("000-*/400")):
        time.sleep(0.1)
    head.process.kill()

threading.Thread(target=lose, daemon=True).start()
try:
    with cluster.connected(machines.address):
        cluster.run(runs[:2], spec, out, plan=plan, command="THE COMMAND")
except store.StoreError as error:
    print(error, flush=True)
    os._exit(1)
"""
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The sweep in one process, unharmed."""
    folder = tmp_path_factory.mktemp("straight")
    assert pinned("-c", STRAIGHT, folder).wait(300) == 0
    return groups(folder)


@pytest.fixture(scope="module")
def harmed(tmp_path_factory):
    """The sweep on two machines: with a worker killed and a group that cannot be trained; and with a machine removed."""
    out = tmp_path_factory.mktemp("harmed")
    script = out / "two_machines.py"
    script.write_text(TWO_MACHINES)
    done = pinned(script, out, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    output = {name: json.loads((out / f"{name}.json").read_text()) for name in ("worker", "machine")}
    return SimpleNamespace(out=out, output=output)


def test_a_killed_worker_costs_no_bit(harmed, straight, tmp_path):
    for name in straight:  # beside them lies the group that failed
        (tmp_path / name).symlink_to(harmed.out / "worker" / name)
    found = groups(tmp_path)
    assert set(found) == set(straight) and all(same(found[name], straight[name]) for name in straight)
    output = [line for line in harmed.output["worker"] if "its worker died" in line]
    assert len(output) == 1 and output[0].startswith("000-") and "It goes on from step " in output[0]


def test_a_group_that_cannot_be_trained_is_not_tried_twice_and_stops_no_other(harmed):
    *_, failed = harmed.output["worker"]
    (name,) = [path.parent.name for path in (harmed.out / "worker").glob("*/failed.json")]
    assert failed.startswith("1 of 3 groups of ") and name in failed and "nonsense" in failed
    assert failed.endswith("then: THE COMMAND.")
    assert sum(line.startswith(name) for line in harmed.output["worker"]) == 1
    assert "nonsense" in store.read_json(harmed.out / "worker" / name / "failed.json")["error"]


def test_a_lost_machine_costs_no_bit(harmed, straight):
    found = groups(harmed.out / "machine")
    assert set(found) == set(straight) and all(same(found[name], straight[name]) for name in straight)
    output = [line for line in harmed.output["machine"] if "It goes on from step " in line]
    assert output and ("its machine is gone" in output[0] or "its worker died" in output[0])


def test_without_its_head_the_driver_says_what_is_safe_and_what_to_type(tmp_path):
    """Ray itself would end it after a minute."""
    done = pinned("-c", WITHOUT_HEAD, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 1, err
    assert out.startswith("Ray's head at ") and "all that workers have committed is safe" in out, err
    assert out.endswith("and then: THE COMMAND\n")
    (group,) = tmp_path.glob("000-*")
    assert store.read_chunk(group, store.chunks(group)[0])[1]["step"] == 400


def test_nothing_is_left_of_driver_and_workers(harmed):
    assert not list(harmed.out.glob("*/cluster")) and not list(harmed.out.glob("*/*/writing-*"))


def test_a_driver_stopped_by_sigterm_lets_its_workers_commit_and_goes_on_when_asked(tmp_path):
    alone, command = tmp_path / "alone", [*COMMAND, "--cluster", "local", "--out", str(tmp_path / "ray")]
    _, err = start([*COMMAND, "--out", alone]).communicate(timeout=200)
    assert "Traceback" not in err
    process = start(command)
    wait_until(lambda: list((tmp_path / "ray").glob("grokking/runs/*/manifest.json")), process)  # its worker trains
    process.terminate()
    _, output = process.communicate(timeout=120)
    _, stopping, output = output.partition(
        "stopping after the points in hand; once more ends at once\n"
    )  # Ray may warn before
    assert stopping
    status = process.returncode
    assert status == 130 and output.count("\n") == 1
    assert (
        output.startswith("stopped: 0 of 1 groups are finished")
        and f"To go on: python {shlex.join(command)}\n" in output
    )
    assert n_chunks(tmp_path / "ray" / "grokking" / "runs") >= 1
    done = start(shlex.split(output.rpartition("To go on: python ")[2]))
    _, err = done.communicate(timeout=200)
    assert done.returncode == 0, err
    assert same(everything(tmp_path / "ray" / "grokking" / "runs"), everything(alone / "grokking" / "runs"))
