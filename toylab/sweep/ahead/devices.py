"""Accelerators that a lane can be compiled for where they are not: what their compiler is told of them, their memory and
published rates.

Rates are the makers' peaks. No program reaches them; what is divided by them is a lower bound of a time.
"""

import difflib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

Platform = Literal["cuda", "tpu"]
NEEDED: dict[Platform, tuple[str, ...]] = {
    "cuda": ("jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12", "flatbuffers"),
    "tpu": ("libtpu", "flatbuffers"),
}
EXTRAS: dict[Platform, str] = {"cuda": "aot-gpu", "tpu": "aot-tpu"}
PREALLOCATED = 0.75  # of a GPU's memory is JAX's for arrays (docs.jax.dev, GPU memory allocation)
KERNEL_SECONDS = (
    1e-6  # the least that a GPU is taken to need for a kernel, however small: an assumption, nobody's figure
)
PASSES = 6  # products of bfloat16 on a TPU for one of float32 at precision `highest`


@dataclass(frozen=True)
class Chip:
    """One chip or GPU, as its maker and its compiler describe it.

    platform   cuda or tpu
    title      its full name
    memory     bytes for arrays
    bandwidth  of its memory, bytes/s
    float32    products of float32 at precision `highest`, flop/s
    bfloat16   products of bfloat16, flop/s
    sources    where these numbers are from
    target     the compiler's description of a GPU; of a TPU the name of its generation
    shapes     chips of one process → how they are laid out (TPU)
    cores      of a chip, as names of several count them (v4-8 has four chips)
    clock      Hz, for the cycles that a TPU's compiler estimates; 0 where it is not known
    """

    platform: Platform
    title: str
    memory: int
    bandwidth: float
    float32: float
    bfloat16: float
    sources: str
    target: str
    shapes: Mapping[int, str]
    cores: int = 1
    clock: float = 0.0


@dataclass(frozen=True)
class Device:
    """What --device names: a chip, and how many of them one process has."""

    name: str
    chip: Chip
    count: int

    def topology(self) -> dict[str, Any]:
        """Arguments of `jax.experimental.topologies.get_topology_desc`."""
        chip = self.chip
        if chip.platform == "cuda":
            return {"platform": "cuda", "target_config": chip.target, "topology": f"1x1x{self.count}"}
        alone = {"chips_per_host_bounds": (1, 1, 1)} if self.count == 1 else {}
        joined = {"chip_config_name": "megacore"} if chip.cores == 2 else {}  # two cores that are one device to JAX
        return {"platform": "tpu", "topology_name": f"{chip.target}:{chip.shapes[self.count]}", **alone, **joined}


def _gpu(title: str, size: int, bandwidth: float, float32: float, bfloat16: float, sources: str, more: str) -> Chip:
    """A GPU of NVIDIA. `more` are the fields of XLA's description in which these GPUs differ."""
    common = (
        "threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 threads_per_core_limit: 2048 "
        "block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 "
        "registers_per_core_limit: 65536 registers_per_block_limit: 65536"
    )
    target = (
        f"gpu_device_info {{ {common} {more} memory_bandwidth: {bandwidth:.0f} device_memory_size: {size} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 12 minor: 8 patch: 0 } '
        f'device_description_str: "{title}"'
    )
    memory = int(PREALLOCATED * size)
    return Chip("cuda", title, memory, bandwidth, float32, bfloat16, sources, target, {n: "" for n in (1, 2, 4, 8)})


def _tpu(
    name: str, memory: float, bandwidth: float, bfloat16: float, shapes: Mapping[int, str], cores: int = 1,
    units: int = 0,
) -> Chip:  # fmt: skip
    """A TPU of Google. `memory` in GiB is what its compiler says of itself where a program is too large. `units` are its
    matrix units of 128 × 128: each does 2·128² operations a cycle, and so the peak gives the clock. 0: of another size."""
    sources = f"docs.cloud.google.com/tpu/docs/{name}; memory: libtpu 0.0.42 of a program that is too large"
    size, clock = int(memory * 2**30), bfloat16 / (2 * 128**2 * units) if units else 0.0
    return Chip("tpu", f"TPU {name}", size, bandwidth, bfloat16 / PASSES, bfloat16, sources, name, shapes, cores, clock)


HOPPER = (
    "shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 l2_cache_size: 52428800 clock_rate_ghz: 1.98 "
    "shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }"
)
AMPERE = (
    "shared_memory_per_core: 167936 core_count: 108 fpus_per_core: 64 l2_cache_size: 41943040 clock_rate_ghz: 1.41 "
    "shared_memory_per_block_optin: 166912 cuda_compute_capability { major: 8 }"
)
BY_NVIDIA = "NVIDIA's data sheet of the SXM form, rates without sparsity; description: XLA's target_config/specs"
PLANE = {1: "1x1", 4: "2x2", 8: "2x4"}
CUBE = {1: "1x1x1", 4: "2x2x1"}
CHIPS: dict[str, Chip] = {
    "h100": _gpu("NVIDIA H100 80GB HBM3", 84929347584, 3.35232e12, 66.9e12, 989.4e12, BY_NVIDIA, HOPPER),
    "h200": _gpu("NVIDIA H200 141GB HBM3e", 151397597184, 4.8e12, 66.9e12, 989.4e12, BY_NVIDIA, HOPPER),
    "a100": _gpu("NVIDIA A100-SXM4-80GB", 85100068864, 2.03904e12, 19.5e12, 312e12, BY_NVIDIA, AMPERE),
    "a100-40gb": _gpu("NVIDIA A100-SXM4-40GB", 42331013120, 1.5552e12, 19.5e12, 312e12, BY_NVIDIA, AMPERE),
    "v4": _tpu("v4", 30.75, 1.2e12, 275e12, CUBE, 2, units=8),
    "v5e": _tpu("v5e", 15.75, 0.819e12, 197e12, PLANE, units=4),
    "v5p": _tpu("v5p", 95.74, 2.765e12, 459e12, CUBE, 2, units=8),
    "v6e": _tpu("v6e", 31.25, 1.638e12, 918e12, PLANE),
}


def names() -> list[str]:
    """Every name that `device` knows."""
    return [
        chip if count == 1 else f"{chip}-{count * described.cores}"
        for chip, described in CHIPS.items()
        for count in described.shapes
    ]


def device(name: str) -> Device:
    """What a name stands for: h100, h100-4 (GPUs), v5e-4 (chips), v4-8 (cores, as Google counts them there).

    Raises:
        ValueError: where no device has that name, with those that there are.
    """
    for (chip, described), count in ((item, count) for item in CHIPS.items() for count in item[1].shapes):
        if name == (chip if count == 1 else f"{chip}-{count * described.cores}"):
            return Device(name, described, count)
    near = difflib.get_close_matches(name.lower(), CHIPS, 1) if name.rpartition("-")[0] not in CHIPS else []
    hint = f"did you mean {near[0]}? There" if near else "there"
    gpus = ", ".join(chip for chip, described in CHIPS.items() if described.platform == "cuda")
    tpus = ", ".join(other for other in names() if CHIPS[other.split("-")[0]].platform == "tpu")
    raise ValueError(f"--device is {name}: {hint} are {gpus}, with -2, -4 or -8 behind it for several; {tpus}.")


def check_compiler(device: Device) -> None:
    """Raises ValueError where the compiler for a device is not installed."""
    if missing := [name for name in NEEDED[device.chip.platform] if not version(name)]:
        extra = EXTRAS[device.chip.platform]
        raise ValueError(
            f"--device is {device.name}: its compiler is not installed ({missing[0]}); pip install 'toylab[{extra}]'."
        )


@lru_cache
def version(name: str) -> str:
    """The version of an installed distribution; "" where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
