"""Compiles one exported program for a described device, in a process of its own: `python -m toylab.sweep.ahead.child DIR`.

In DIR lie program.bin, of `jax.export`, and request.json; result.json is written there. A compiler that ends the process
takes nothing else with it, and environment variables that it reads when it is loaded are set for it alone.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
from jax import export
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from toylab.sweep.ahead.moved import Program
from toylab.sweep.lanes import mesh
from toylab.sweep.memory import is_out_of_memory


def compiled(program: export.Exported, request: dict[str, Any]) -> Any:
    """The compiled program."""
    found = topologies.get_topology_desc(**request["topology"]).devices
    over = mesh(program.nr_devices, found)

    def of(is_split: bool) -> Sharding:
        split = PartitionSpec("run") if is_split else PartitionSpec()
        return SingleDeviceSharding(found[0]) if program.nr_devices == 1 else NamedSharding(over, split)

    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=of(is_split))
        for aval, is_split in zip(program.in_avals, request["split"], strict=True)
    ]
    called = jax.jit(program.call, donate_argnums=request["donated"])
    lowered = called.trace(*arguments).lower(lowering_platforms=program.platforms)
    return lowered.compile()


def told(program: export.Exported, request: dict[str, Any]) -> dict[str, Any]:
    """What the compiler says of the program."""
    start = _cpu_seconds()
    try:
        made = compiled(program, request)
    except jax.errors.JaxRuntimeError as error:
        said = str(error).strip().split("\n")[0].rstrip(".")
        return {"error": said.removeprefix("RESOURCE_EXHAUSTED: "), "too_large": is_out_of_memory(error)}
    seconds = _cpu_seconds() - start
    taken, text = made.memory_analysis(), Program(made.as_text())
    memory = {
        name: int(getattr(taken, f"{name}_size_in_bytes"))
        for name in ("argument", "output", "alias", "temp", "generated_code")
    }
    found = {"memory": memory, "seconds": seconds, "collectives": text.collectives()}
    try:
        return {**found, "step": vars(text.a_step(request["loop"]))}
    except ValueError as error:
        return {**found, "step": None, "why": str(error)}


def _cpu_seconds() -> float:
    """CPU time so far, of this process and of those it started: ptxas is one."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


def main(folder: Path) -> None:
    """Reads the request in a folder, and writes what is told."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    program = export.deserialize(bytearray((folder / "program.bin").read_bytes()))
    (folder / "result.json").write_text(json.dumps(told(program, request)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
