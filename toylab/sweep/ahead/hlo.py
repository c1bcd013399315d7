"""The text of a compiled program (HLO, as `compiled.as_text()` gives it), read into operations and the arrays they make."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")


@dataclass(frozen=True)
class Array:
    """An array in a program: bits of an element, sizes, the order of axes from the fastest on, tile, memory space.

    Space 0 is the device's main memory. Others are on the chip, as a TPU's vector memory.
    """

    bits: int
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    space: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of its elements."""
        return -(-prod(self.shape) * self.bits // 8)

    @property
    def padded(self) -> int:
        """Bytes that it takes: its last axes in memory filled up to whole tiles."""
        if not self.tile:
            return self.bytes
        rows = [self.shape[axis] for axis in reversed(self.order)] if self.order else list(self.shape)
        rows = [1] * (len(self.tile) - len(rows)) + rows
        outer, inner = rows[: len(rows) - len(self.tile)], rows[len(rows) - len(self.tile) :]
        full = [-(-n // tile) * tile for n, tile in zip(inner, self.tile, strict=True)]
        return -(-prod([*outer, *full]) * self.bits // 8)


@dataclass(frozen=True)
class Operation:
    """A line of a program."""

    name: str
    kind: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str  # its attributes
    root: bool

    def called(self, key: str) -> str:
        """The computation that an attribute names; "" where it has none."""
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.text)
        return found[1] if found else ""


Computation = dict[str, Operation]  # by name, in order


def computations(text: str) -> dict[str, Computation]:
    """The computations of a program, by name."""
    found: dict[str, Computation] = {}
    own: Computation = {}
    for line in text.splitlines():
        if line[:1] in ("%", "E") and line.rstrip().endswith("{"):
            own = found[line.removeprefix("ENTRY ").lstrip("%").split(" ")[0]] = {}
        elif line.startswith("  ") and " = " in line:
            one = operation(line)
            own[one.name] = one
    return found


def operation(line: str) -> Operation:
    """A line of a computation, read."""
    name, _, rest = re.sub(r"/\*.*?\*/", "", line).strip().partition(" = ")
    end = _closing(rest) + 1 if rest.startswith("(") else rest.index(" ")
    kind, _, _ = rest[end:].strip().partition("(")
    at = rest.index("(", end)
    last = at + _closing(rest[at:])
    inside = rest[at + 1 : last]
    operands = re.findall(r"%([\w.\-]+)", inside) or ([inside] if kind in ("parameter", "constant") else [])
    results = tuple(arrays(rest[:end]))
    return Operation(
        name.removeprefix("ROOT ").lstrip("%"),
        kind,
        results,
        tuple(operands),
        rest[last + 1 :],
        name.startswith("ROOT "),
    )


def arrays(text: str) -> Iterator[Array]:
    """The arrays of a type, a tuple's one after another: "(f32[8,5]{1,0:T(8,128)S(1)}, s32[])"."""
    for kind, sizes, layout in ARRAY.findall(text):
        bits = 8 if kind == "pred" else int(found[0]) if (found := re.findall(r"^[a-z]+(\d+)", kind)) else 0
        shape = tuple(int(size.lstrip("<=")) for size in sizes.split(",") if size)
        order, _, more = layout.partition(":")
        tile, space = re.match(r"T\(([\d,]+)\)", more), re.search(r"S\((\d+)\)", more)
        yield Array(
            bits,
            shape,
            tuple(int(axis) for axis in order.split(",") if axis.strip()),
            tuple(int(n) for n in tile[1].split(",")) if tile else (),
            int(space[1]) if space else 0,
        )


def _closing(text: str) -> int:
    """Where the bracket with which a text begins is closed."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return i
    raise ValueError(f"{text[:60]!r} has a bracket that is not closed.")
