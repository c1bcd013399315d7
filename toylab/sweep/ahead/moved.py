"""What a compiled program says of one step: bytes moved, padding, kernels, collectives.

XLA keeps an array in the device's memory between fusions and nowhere else. So what a step moves is the sum, over the
operations in the body of its loop, of the bytes of their operands and results. Of an operand that a fusion only slices or
gathers from, what it takes counts; of a result that is written into an array in place, what it writes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from toylab.sweep.ahead.hlo import Array, Computation, Operation, computations

COLLECTIVES = (
    "all-gather", "all-reduce", "all-to-all", "collective-broadcast", "collective-permute", "ragged-all-to-all",
    "reduce-scatter",
)  # fmt: skip
MOVE_NOTHING = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "add-dependency", "partition-id",
    "replica-id", "opt-barrier", "optimization-barrier", "domain",
}  # fmt: skip
TAKES_PART = ("dynamic-slice", "slice", "gather")  # of their first operand


@dataclass(frozen=True)
class Cost:
    """What some operations take.

    moved    bytes from and to the device's main memory, padding included
    padded   bytes of all that is read and written, in memory on the chip too, padding included
    logical  the same without padding
    kernels  operations that a device starts one by one
    cycles   that a TPU's compiler estimates, for the operations of which it does
    """

    moved: int = 0
    padded: int = 0
    logical: int = 0
    kernels: int = 0
    cycles: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def times(self, n: int) -> "Cost":
        return Cost(*(n * getattr(self, name) for name in self.__dataclass_fields__))


class Program:
    """A compiled program, read from `compiled.as_text()`."""

    def __init__(self, text: str) -> None:
        self.computations = computations(text)

    def collectives(self) -> list[str]:
        """The kind of every operation by which devices communicate."""
        kinds = [one.kind.removesuffix("-start") for own in self.computations.values() for one in own.values()]
        return [kind for kind in kinds if kind in COLLECTIVES]

    def a_step(self, loop: str) -> Cost:
        """The cost of one run through the loop of that name (`jax.named_scope`).

        Raises:
            ValueError: where there is not one loop of that name.
        """
        named = re.compile(rf'op_name="[^"]*\b{loop}\)*/while"')
        found = {
            one.called("body")
            for own in self.computations.values()
            for one in own.values()
            if one.kind == "while" and named.search(one.text)
        }
        if len(found) != 1:
            raise ValueError(
                f"the compiled program has {len(found)} loops over steps, not one: its steps are not counted"
            )
        return self.cost(found.pop())

    def cost(self, computation: str) -> Cost:
        """The cost of a computation: of its operations, those of loops in it as often as they run, of branches the larger.

        Raises:
            ValueError: where a loop in it runs as often as its data say.
        """
        if not (own := self.computations.get(computation)):
            raise ValueError(f"the compiled program has no computation {computation!r}: its steps are not counted")
        return sum((self._cost(one, own) for one in own.values()), Cost())

    def _cost(self, one: Operation, own: Computation) -> Cost:
        if one.kind in MOVE_NOTHING or one.kind.endswith("-done"):
            return Cost()
        if one.kind == "while":
            return (self.cost(one.called("body")) + self.cost(one.called("condition"))).times(self._trips(one))
        if one.kind == "conditional":
            listed = re.search(r"branch_computations=\{([^}]*)\}", one.text)
            names = [name.strip().lstrip("%") for name in listed[1].split(",")] if listed else []
            names = names or [one.called("true_computation"), one.called("false_computation")]
            return max((self.cost(name) for name in names), key=lambda cost: cost.moved)
        if one.kind == "call":
            return self.cost(one.called("to_apply"))
        if one.kind == "async-start":
            return self.cost(one.called("calls"))
        cycles = re.search(r'"estimated_cycles":"(\d+)"', one.text)
        arrays = list(self._moved(one, own))
        return Cost(
            sum(array.padded for array in arrays if not array.space),
            sum(array.padded for array in arrays),
            sum(array.bytes for array in arrays),
            1,
            int(cycles[1]) if cycles else 0,
        )

    def _trips(self, loop: Operation) -> int:
        """How often a loop runs: as the compiler says, or its condition, i < constant, where JAX's loops begin at 0."""
        if found := re.search(r'"known_trip_count":\{"n":"?(\d+)', loop.text):
            return int(found[1])
        condition = self.computations.get(loop.called("condition"), {})
        bounds = [
            condition.get(one.operands[-1])
            for one in condition.values()
            if one.root and one.kind == "compare" and "direction=LT" in one.text
        ]
        bound = bounds[0] if bounds else None
        if bound is None or bound.kind != "constant" or not bound.operands[0].isdecimal():
            raise ValueError(f"a step has a loop in it ({loop.name}) whose length is not known: it is not counted")
        return int(bound.operands[0])

    def _moved(self, one: Operation, own: Computation) -> Iterator[Array]:
        """The arrays that an operation reads and writes, cut to what it takes of them."""
        inner = self.computations.get(one.called("calls"), {}) if one.kind == "fusion" else {}
        inputs: list[Sequence[Array]] = [own[name].results if name in own else () for name in one.operands]
        results: Sequence[Array] = one.results
        if inner:
            parameters = sorted(
                (other for other in inner.values() if other.kind == "parameter"),
                key=lambda other: int(other.operands[0]),
            )
            for i, parameter in enumerate(parameters[: len(inputs)]):
                inputs[i] = _taken(parameter, inner, inputs[i])
            results = _written(inner, results)
        elif one.kind in TAKES_PART:
            inputs[0] = _smaller(results, inputs[0])
        elif one.kind == "dynamic-update-slice":
            inputs[0], results = (), inputs[1]
        elif one.kind.endswith("-start"):  # its results are what it copies, the copy, and a token
            results = results[:1] if len(results) < 2 or one.kind == "copy-start" else results[1:2]
        yield from (array for arrays in (*inputs, results) for array in arrays)


def _users(name: str, inner: Computation) -> list[Operation]:
    """What reads a value in a fusion, also by way of bitcasts."""
    found = [one for one in inner.values() if name in one.operands]
    return [
        user for one in found for user in (_users(one.name, inner) if one.kind == "bitcast" and not one.root else [one])
    ]


def _taken(parameter: Operation, inner: Computation, whole: Sequence[Array]) -> Sequence[Array]:
    """Of an operand of a fusion what is read."""
    users = _users(parameter.name, inner)
    if not users or not all(one.kind in (*TAKES_PART, "dynamic-update-slice") for one in users):
        return whole
    first = {parameter.name, *(one.name for one in inner.values() if one.kind == "bitcast")}
    if not all(one.operands[0] in first for one in users):  # as an index, or as what is written
        return whole
    return _smaller([array for one in users if one.kind in TAKES_PART for array in one.results], whole)


def _smaller(part: Sequence[Array], whole: Sequence[Array]) -> Sequence[Array]:
    """A part of an array, in the whole one's place; the whole where the part repeats its elements."""
    part = [replace(array, space=whole[0].space) for array in part] if whole else part
    return part if sum(array.padded for array in part) < sum(array.padded for array in whole) else whole


def _written(inner: Mapping[str, Operation], results: Sequence[Array]) -> Sequence[Array]:
    """Of the results of a fusion what is written."""
    root = next((one for one in inner.values() if one.root), None)
    names = () if root is None else root.operands if root.kind == "tuple" else (root.name,)
    if len(names) != len(results):
        return results
    written: list[Array] = []
    for name, result in zip(names, results, strict=True):
        one = inner.get(name)
        while one is not None and one.kind == "bitcast":
            one = inner.get(one.operands[0])
        update = inner.get(one.operands[1]) if one is not None and one.kind == "dynamic-update-slice" else None
        written += [replace(array, space=result.space) for array in update.results] if update else [result]
    return written
