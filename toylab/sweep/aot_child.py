"""Compiles one exported program for a described device, in a process of its own: `python -m toylab.sweep.aot_child FOLDER`.

In FOLDER lie program.bin, of `jax.export`, and request.json; result.json is written there. A compiler that ends the process
takes nothing else with it, and environment variables that it reads when it is loaded are set for it alone.
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
from jax import export
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from toylab.sweep.lanes import mesh
from toylab.sweep.moved import Program


def devices(platform: str, target: str, layout: str, count: int) -> Any:
    """The devices of a description."""
    if platform == "cuda":
        described = topologies.get_topology_desc(platform="cuda", target_config=target, topology=f"1x1x{count}")
    else:
        bounds = {"chips_per_host_bounds": (1, 1, 1)} if count == 1 else {}
        described = topologies.get_topology_desc(platform="tpu", topology_name=f"{target}:{layout}", **bounds)
    return described.devices


def compiled(program: export.Exported, request: dict[str, Any]) -> tuple[Any, str]:
    """The compiled program, and the kind of its devices."""
    found = devices(request["platform"], request["target"], request["layout"], request["count"])
    over = mesh(program.nr_devices, found)

    def of(is_split: bool) -> Sharding:
        split = PartitionSpec("run") if is_split else PartitionSpec()
        return SingleDeviceSharding(found[0]) if program.nr_devices == 1 else NamedSharding(over, split)

    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=of(is_split))
        for aval, is_split in zip(program.in_avals, request["split"], strict=True)
    ]
    called = jax.jit(program.call, donate_argnums=request["donated"])
    lowered = called.trace(*arguments).lower(lowering_platforms=(request["platform"],))
    return lowered.compile(), found[0].device_kind


def told(program: export.Exported, request: dict[str, Any]) -> dict[str, Any]:
    """What the compiler says of the program."""
    start, cpu = time.perf_counter(), time.process_time()
    try:
        made, kind = compiled(program, request)
    except jax.errors.JaxRuntimeError as error:
        said = str(error)
        used = re.search(r"Used (\S+) of (\S+) hbm", said)
        why = f"it needs {used[1]} of {used[2]}" if used else said.strip().split("\n")[0]
        return {"error": why, "too_large": "RESOURCE_EXHAUSTED" in said}
    seconds = {"wall": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    taken, text = made.memory_analysis(), Program(made.as_text())
    memory = {
        name: int(getattr(taken, f"{name}_size_in_bytes"))
        for name in ("argument", "output", "alias", "temp", "generated_code")
    }
    found = {"kind": kind, "memory": memory, "seconds": seconds, "collectives": text.collectives()}
    try:
        return {**found, "step": vars(text.a_step(request["loop"]))}
    except ValueError as error:
        return {**found, "step": None, "why": str(error)}


def main(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text("utf-8"))
    program = export.deserialize(bytearray((folder / "program.bin").read_bytes()))
    (folder / "result.json").write_text(json.dumps(told(program, request)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
