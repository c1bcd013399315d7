"""Several processes, and Ray's workers, share what is new of a sweep: it is then as if one process had begun it whole."""

import subprocess

import pytest
from cluster_sweep import SWEEP
from growing import differences
from processes import pinned

from toylab import store, sweep
from toylab.records.status import status

pytestmark = pytest.mark.slow
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
GROWING = (
    SWEEP
    + """
from toylab.launch import processes
few, more = sweep.Spec(saves=range(0, 121, 40)), sweep.Spec(saves=range(0, 161, 10))
tell = lambda progress: print(progress.group, progress.step, *progress.messages, flush=True)
"""
)
WHOLE = GROWING + "sweep.run(runs, more, out, plan=plan)"
FIRST = GROWING + "sweep.run(runs[1:2], few, out, plan=plan)"
JOINED = GROWING + "processes.run(runs, more, out, place=processes.place(2), plan=plan, report=tell)"
BY_RAY = (
    GROWING
    + """
warnings.simplefilter("ignore")
from toylab.launch import ray as cluster
cluster.run(runs, more, out, plan=plan, report=tell)
"""
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert pinned("-c", WHOLE, folder).wait(300) == 0
    return sweep.load(folder)


@pytest.fixture
def begun(tmp_path):
    assert pinned("-c", FIRST, tmp_path).wait(300) == 0
    return tmp_path


def finished(folder, whole):
    """Whether the sweep is whole, and each run in one group alone."""
    found = sweep.load(folder)
    n_runs = sum(store.read_json(folder / "sweep.json", sealed=True)["groups"].values())
    alike = [[one.select(**{"net.d_model": size}) for one in (found, whole)] for size in (8, 12)]
    same = found.runs.tolist() == whole.runs.tolist() and all(differences(*both) == [] for both in alike)
    return status(folder).finished and n_runs == len(found) and same


def test_two_processes_share_what_is_new(begun, whole):
    both = [pinned("-c", JOINED, begun, **PIPES) for _ in range(2)]
    output = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    assert finished(begun, whole)
    assert [len(group.runs) for group in sweep.load(begun)] == [1, 2, 1]  # the first, two of its kind, one of another


def test_rays_workers_train_what_is_new(begun, whole):
    pytest.importorskip("ray", reason="trains with Ray")
    process = pinned("-c", BY_RAY, begun, **PIPES)
    output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert finished(begun, whole)
