"""What a compiler says of a lane's program on a device, and what follows: whether it fits, lower bounds of its times.

Bytes on the device, what a step moves and that nothing is communicated are the compiler's. A time is arithmetic with
published rates; nothing was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toylab.sweep.ahead.devices import KERNEL_SECONDS, Device
from toylab.sweep.ahead.moved import Cost


@dataclass(frozen=True)
class Prediction:
    """What a compiler says of a lane's program on a device, and what follows.

    device       that it was compiled for
    width        runs of the lane, on all devices together
    shards       devices that share it
    segment      saved points in a launch
    takes        bytes on each device: arguments, results, what lies between, the program; None where it is too large
    estimate     the same as toylab estimates it without compiling
    why          the compiler's words where the program is too large, or why a step is not counted; else ""
    step         what one step moves on each device; None where it is not counted
    products     operations of a step in products of matrices on each device, by the dtype of the factors
    collectives  operations by which the devices communicate
    seconds      CPU time of compiling
    cached       whether it was compiled before
    """

    device: Device
    width: int
    shards: int
    segment: int
    takes: int | None
    estimate: int
    why: str
    step: Cost | None
    products: Mapping[str, int]
    collectives: tuple[str, ...]
    seconds: float
    cached: bool

    @property
    def fits(self) -> bool:
        """Whether the program fits into the device's memory."""
        return self.takes is not None and self.takes <= self.device.chip.memory

    @property
    def widest(self) -> int | None:
        """About the most runs of a lane that fit, in proportion to these: at least so many, because some arrays are shared.
        On a TPU no more than the estimate has room for: arrays that lie in the chip's own memory now will not in a wider
        lane. None where the program was too large to be compiled."""
        if self.takes is None:
            return None
        needed = max(self.takes, self.estimate) if self.device.chip.platform == "tpu" else self.takes
        return int(self.width // self.shards * self.device.chip.memory / max(needed, 1)) * self.shards

    def times(self) -> dict[str, float]:
        """Lower bounds of a step's seconds, by what bounds it.

        memory       bytes moved / bandwidth
        arithmetic   Σ over dtypes: operations in products / their peak rate
        kernels      kernels of a GPU × the least time that one is taken to need
        cycles       those that a TPU's compiler estimates / clock, which leaves out gathers, scatters and sorts
        """
        chip = self.device.chip
        half = sum(n for dtype, n in self.products.items() if dtype in ("bfloat16", "float16"))
        full = sum(self.products.values()) - half
        found = {"arithmetic": full / chip.float32 + half / chip.bfloat16}
        if self.step:
            found["memory"] = self.step.moved / chip.bandwidth
            if chip.platform == "cuda":
                found["kernels"] = KERNEL_SECONDS * self.step.kernels
            if self.step.cycles and chip.clock:
                found["cycles"] = self.step.cycles / chip.clock
        return found

    @property
    def bound(self) -> str:
        """Which of `times` is the longest; "" where what a step moves is not counted."""
        times = self.times()
        return max(times, key=lambda name: times[name]) if self.step else ""
