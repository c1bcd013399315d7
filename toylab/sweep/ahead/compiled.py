"""Compiles a lane's program for a device that is not there, and says what the compiler says of it.

The program is traced and exported here, and compiled in a process of its own (child.py), for which environment
variables are set that the compilers read when they are loaded. Nothing runs on the device.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax import export
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from toylab import platforms, store
from toylab.base import Analyzer, Config
from toylab.store import caches, durable
from toylab.sweep import memory
from toylab.sweep.ahead.devices import NEEDED, Device, check_compiler, version
from toylab.sweep.ahead.flops import products
from toylab.sweep.ahead.moved import Cost
from toylab.sweep.ahead.prediction import Prediction
from toylab.sweep.lanes import axes, compiled
from toylab.sweep.timing import shards_of

VERSION = 1  # of what is kept in the cache: one more whenever child.py, hlo.py or moved.py say something else
CHILD = [sys.executable, "-m", "toylab.sweep.ahead.child"]
PLACES = re.compile(r'^#loc.*\n| ?loc\((?:[^()"]|"[^"]*"|\([^()]*\))*\)', re.M)  # of source, in a program's text
READ = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")  # environment variables that change what is compiled
SET = {
    "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}  # fmt: skip


class NotCompiled(ValueError):
    """A program that the device's compiler does not compile."""


def predict(
    config: Config, device: Device, width: int, segment: int = 1, *, probes: Mapping[str, Analyzer] | None = None,
    keep: tuple[str, ...] | None = None, own_draws: bool = False,
) -> Prediction:  # fmt: skip
    """Compiles the program that trains a lane, and counts. Products have float32's precision, as in training.

    What was compiled before is read from a cache (store/caches.py), as `~/.cache/toylab/aot`, unless TOYLAB_CACHE is off.
    Its key is a digest of the program, the device's description, versions and XLA's flags.

    Args:
        config: of a run, checked.
        device: of `devices.device`.
        width: runs in the lane, on all devices together.
        segment: saved points in a launch.
        probes: analyzers whose results are recorded at each point, as in `Spec`.
        keep: names of the params that are recorded at each point; None for all.
        own_draws: as of `configs.own_draws`.

    Raises:
        ValueError: where the compiler for the device is not installed.
        NotCompiled: where it does not compile the program, for another reason than its size.
    """
    check_compiler(device)
    shards = shards_of(width, device.count)
    program, request = _exported(config, device, width, shards, segment, probes or {}, keep, own_draws)
    found, cached = _found(program, request)
    if "error" in found and not found["too_large"]:
        raise NotCompiled(f"it cannot be compiled for {device.name}: {found['error']}.")
    sizes = found.get("memory", {})
    taken = sum(sizes.values()) - 2 * sizes["alias"] if sizes else None
    return Prediction(
        device,
        width,
        shards,
        segment,
        taken,
        memory.traced(config, width // shards, segment, probes, keep, own_draws, device.chip.platform)[0],
        found.get("error") or found.get("why") or "",
        Cost(**found["step"]) if found.get("step") else None,
        {dtype: width // shards * n for dtype, n in products(config).items()},
        tuple(found.get("collectives", ())),
        found.get("seconds", 0.0),
        cached,
    )


def _exported(
    config: Config, device: Device, width: int, shards: int, segment: int, probes: Mapping[str, Analyzer], keep: Any,
    own_draws: bool,
) -> tuple[export.Exported, dict[str, Any]]:  # fmt: skip
    """The lane's program with flat arguments, and what compiling it needs besides."""
    over = AbstractMesh((shards,), ("run",))
    function = compiled(width, tuple(probes.items()), keep, shards, over if shards > 1 else None)
    given = memory.arguments(config, width, segment, own_draws)
    leaves, tree = jax.tree.flatten(given)
    split = jax.tree.leaves((*axes(*given[:2], True, False), False)) if shards > 1 else [False] * len(leaves)
    if shards > 1:
        specs = [PartitionSpec("run") if is_split else PartitionSpec() for is_split in split]
        leaves = [
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(over, spec))
            for leaf, spec in zip(leaves, specs, strict=True)
        ]
    n_config, n_state = (len(jax.tree.leaves(part)) for part in given[:2])
    donated = list(range(n_config, n_config + n_state))

    def flat(*arrays: Any) -> Any:
        return jax.tree.leaves(function(*jax.tree.unflatten(tree, arrays)))

    with jax.default_matmul_precision("highest"):
        program = export.export(jax.jit(flat, donate_argnums=donated), platforms=[device.chip.platform])(*leaves)
    request = {"topology": device.topology(), "split": split, "donated": donated, "loop": platforms.STEPS}
    return program, request


def _found(program: export.Exported, request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What the compiler says of a program, and whether the cache says so."""
    used = {name: version(name) for name in ("jax", "jaxlib", *NEEDED[request["topology"]["platform"]])}
    flags = {name: os.environ.get(name, "").split() for name in READ}
    text = PLACES.sub("", program.mlir_module())
    key = json.dumps([VERSION, request, used, flags]) + text
    kept = caches.folder("aot", os.environ)
    file = kept and kept / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    if file:
        try:
            return store.read_json(file, sealed=True), True
        except (OSError, store.StoreError):  # not there, or damaged: it is compiled again
            pass
    found = _compiled_apart(program, request)
    if file and ("error" not in found or found["too_large"]):
        try:
            durable.make(file.parent)
            store.write_json(file, found, sealed=True)
        except (OSError, store.StoreError):  # a home that cannot be written to: the next time is as long
            pass
    return found, False


def _compiled_apart(program: export.Exported, request: dict[str, Any]) -> dict[str, Any]:
    """What child.py says."""
    with tempfile.TemporaryDirectory(prefix="toylab-aot-") as place:
        folder = Path(place)
        (folder / "program.bin").write_bytes(program.serialize())
        (folder / "request.json").write_text(json.dumps(request), "utf-8")
        own = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, **SET, "PYTHONPATH": os.pathsep.join(filter(None, own))}
        done = subprocess.run(
            [*CHILD, place], env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if (result := folder / "result.json").is_file():
            return dict(json.loads(result.read_text("utf-8")))
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        return {"error": f"its compiler ended with status {done.returncode} ({said[-1].strip()})", "too_large": False}
