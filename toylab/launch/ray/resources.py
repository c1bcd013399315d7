"""The resources of a Ray cluster, and how many workers fit: one for each GPU or TPU host, else a share of the cores."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toylab import store, sweep
from toylab.base import Config


@dataclass(frozen=True)
class Resources:
    """What the machines of a cluster have. A worker gets one GPU, or one TPU host, or, where there are none, some cores."""

    nodes: Mapping[str, Mapping[str, float]]  # id → resources
    kind: str  # GPU, TPU or CPU

    @property
    def n(self) -> int:
        """The most workers at once."""
        return sum(int(node[self.kind] > 0 if self.kind == "TPU" else node[self.kind]) for node in self.nodes.values())

    def cores(self, n_groups: int, before: int | None) -> int | None:
        """Cores of each worker; None where workers compute on GPUs or TPUs. A sweep that was begun with `before` cores
        keeps that number, because the bits of its results depend on it."""
        if self.kind != "CPU":
            return None
        smallest = int(min(node["CPU"] for node in self.nodes.values()))
        return before if before and before <= smallest else max(1, min(smallest, self.n // n_groups))

    def options(self, cores: int | None) -> dict[str, Any]:
        """Ray's options for a worker: the resources to reserve for it."""
        if self.kind == "CPU":
            return {"num_cpus": cores}
        each = min(
            int(node.get("CPU", 0) // (node["GPU"] if self.kind == "GPU" else 1)) for node in self.nodes.values()
        )
        chips = int(min(node[self.kind] for node in self.nodes.values()))
        return {"num_cpus": each, **({"num_gpus": 1} if self.kind == "GPU" else {"resources": {"TPU": chips}})}

    def slots(self, cores: int | None) -> int:
        """The number of workers with `cores` cores each that fit at once."""
        return self.n if cores is None else sum(int(node["CPU"] // cores) for node in self.nodes.values())


def resources_of(ray: Any) -> Resources:
    """The resources of the machines that are alive. Raises Refused where no machine has any."""
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    kinds = ("CPU",) if os.environ.get("JAX_PLATFORMS") == "cpu" else ("GPU", "TPU", "CPU")
    for kind in kinds:
        if nodes := {name: resources for name, resources in alive.items() if resources.get(kind, 0) >= 1}:
            return Resources(nodes, kind)
    raise store.Refused("the Ray cluster has no machine with a free CPU, GPU or TPU: add one with ray start --address.")


def group_size_for(configs: Sequence[Config], workers: int) -> int:
    """The group size that gives each worker about one group."""
    return max(1, min(sweep.MAX_RUNS, -(-len(configs) // max(workers, 1))))
