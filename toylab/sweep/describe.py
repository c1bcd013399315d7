"""Descriptions of sweeps → configs: the options `--set`, `--zip` and `--seeds`, or a TOML file of the same content.

experiment = "grokking"                # and, as on the command line: scale, part, seeds
seeds = 3
[set]                                  # every combination of values
optimizer.weight_decay = "0.1:3:log8"
task.n_train = [2000, 3830]
[[zip]]                                # fields that vary together; may be repeated
net.d_model = [64, 128]
net.d_mlp = [256, 512]
[[chain]]                              # each block's runs, one after another; a block may have set, zip, seeds
set.task.op = "add"
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toylab import configs as cfg
from toylab.base import Config
from toylab.sweep import grids

BLOCK_KEYS = ("set", "zip", "seeds")
KEYS = ("experiment", "scale", "part", *BLOCK_KEYS, "chain")
Values = dict[str, Any]  # dotted path → values


@dataclass(frozen=True)
class Block:
    """Fields to set in a page's configs: every combination of `sets`, where the fields of each of `zips` vary together."""

    sets: Values = field(default_factory=dict)
    zips: tuple[Values, ...] = ()
    seeds: int | None = None


@dataclass(frozen=True)
class Description:
    """A sweep as the user describes it: a page, its scale and parts, and the fields to set. `chain`: a union of blocks."""

    experiment: str | None = None
    scale: str | None = None
    parts: tuple[str, ...] = ()
    block: Block = Block()
    chain: tuple[Block, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it sets fields other than the seed."""
        return any(block.sets or block.zips for block in (self.block, *self.chain))

    @property
    def seeded(self) -> bool:
        """Whether it sets seeds."""
        return any(block.seeds is not None for block in (self.block, *self.chain))

    @property
    def named(self) -> tuple[str, ...]:
        """Every field that it sets, including the seed."""
        return tuple(dict.fromkeys(path for block in (self.block, *self.chain) for path in _named(block)))

    def configs(self, base: Sequence[Config]) -> list[Config]:
        """A page's configs with the fields set, checked."""
        blocks = [_joined(self.block, block) for block in self.chain] or [self.block]
        return [config for block in blocks for config in _configs(base, block)]


def settings(texts: Sequence[str], option: str) -> Values:
    """Texts like `optimizer.lr=1e-3,3e-3` as values by field. `option` names their option in messages."""
    found: Values = {}
    for text in texts:
        path, _, given = text.partition("=")
        if not path or not given or "" in given.split(","):
            raise ValueError(f"{option} {text}: give a field and its values, as optimizer.lr=1e-3,3e-3.")
        if path in found:
            raise ValueError(f"{option} names {path} twice: give all its values in one list.")
        found[path] = given
    return found


def from_texts(sets: Sequence[str], zips: Sequence[Sequence[str]], seeds: int | None) -> Block:
    """The block that --set, --zip and --seeds describe. Raises ValueError where they contradict each other."""
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds is {seeds}: give at least 1, or --set seed=… instead.")
    block = Block(settings(sets, "--set"), tuple(settings(texts, "--zip") for texts in zips))
    if seeds is not None and "seed" in _named(block):
        raise ValueError(f"--seeds is {seeds}: give it or the values of seed, not both.")
    return replace(block, seeds=seeds)


def with_texts(description: Description, block: Block) -> Description:
    """A file's description with the command line's block: fields are combined, seeds replace those of the file."""
    own, *chain = description.block, *description.chain
    if block.seeds is not None:
        own, *chain = (replace(part, seeds=None) for part in (own, *chain))
    return replace(description, block=_joined(own, block), chain=tuple(chain))


def without_setting(description: Description, field: str) -> tuple[str | None, Description]:
    """Removes a setting that is no field of a config, as `weights`. Returns its value or None, and the description."""
    sets = dict(description.block.sets)
    value = sets.pop(field, None)
    if isinstance(value, list):  # of a file
        if len(value) != 1:
            raise ValueError(f"{field} is {value}: give one value.")
        value = value[0]
    return value, replace(description, block=replace(description.block, sets=sets))


def with_choices(
    description: Description, *, experiment: str | None, scale: str | None, parts: Sequence[str]
) -> Description:
    """The description with the page, scale and parts of the command line, which take precedence over the file's."""
    named = description.experiment
    if experiment and named and experiment != named:
        raise ValueError(f"the file describes a sweep of {named}, not of {experiment}: name one of them.")
    if not (named := experiment or named):
        raise ValueError("experiment is missing: name it in the file or on the command line.")
    return replace(
        description, experiment=named, scale=scale or description.scale, parts=tuple(parts) or description.parts
    )


def from_file(path: Path) -> Description:
    """The sweep that a TOML file describes.

    Raises:
        ValueError: in one sentence, with line and column, or key and value.
    """
    table = _read(path)
    try:
        _check_keys(table, KEYS)
        if not table:
            raise ValueError(f"it describes nothing: give at least one of {', '.join(KEYS)}.")
        for key in ("experiment", "scale"):
            if not isinstance(table.get(key, ""), str):
                raise ValueError(f"{key} is {table[key]!r}: give a text.")
        parts = table.get("part", [])
        parts = [parts] if isinstance(parts, str) else parts
        listed = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
        if not listed or (not parts and "part" in table):
            raise ValueError(f"part is {parts!r}: give the name of a part, or a list of them.")
        block = _block({key: table[key] for key in BLOCK_KEYS if key in table})
        chain = tuple(_block(inner) for inner in _tables(table, "chain"))
        description = Description(table.get("experiment"), table.get("scale"), tuple(parts), block, chain)
        for inner in chain:
            _joined(block, inner)  # raises if a field is set twice
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return description


def check_name(kind: str, name: str) -> None:
    """Raises ValueError where a name that becomes a folder's name leads to another folder."""
    if "/" in name or "\\" in name or ".." in name:
        raise ValueError(f"{kind} is {name!r}: a name has no slash and no '..' in it.")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"--sweep is {path}: it cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no TOML: byte {error.start} is no UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        what, at, place = str(error).partition(" (at ")
        found = re.search(r"line (\d+), column (\d+)", at + place)
        lines = text.split("\n")
        line, column = found.groups() if found else (len(lines), len(lines[-1]) + 1)
        raise ValueError(f"{path}, line {line}, column {column}: {what}.") from None


def _block(table: Any) -> Block:
    _check_keys(table, BLOCK_KEYS)
    seeds = table.get("seeds")
    if seeds is not None and (not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1):
        raise ValueError(f"seeds is {seeds!r}: give a whole number of at least 1.")
    if not isinstance(table.get("set", {}), dict):
        raise ValueError(f"set is {table['set']!r}: give a table of fields, [set].")
    if table.get("set") == {}:
        raise ValueError("set is empty: give a field and its values, as seed = [0, 1].")
    block = Block(_flat(table.get("set", {})), tuple(_flat(one) for one in _tables(table, "zip")), seeds)
    return _joined(Block(), block)


def _check_keys(table: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}."
            raise ValueError(f"{key} is no key: {hint}")


def _tables(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = table.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ValueError(f"{key} is no list of tables: write it as [[{key}]].")
    if key in table and (
        not tables or (key == "zip" and not all(tables))
    ):  # an empty block of a chain is the page's own runs
        raise ValueError(f"{key} is empty: give it an entry, or leave it out.")
    return tables


def _flat(table: Mapping[str, Any], prefix: str = "") -> Values:
    """Nested tables as dotted paths, each with its list of values."""
    found: Values = {}
    for name, value in table.items():
        listed = value if isinstance(value, list) else [value]
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: listed}
        if not isinstance(value, dict) and not all(isinstance(item, int | float | str) for item in listed):
            raise ValueError(f"{prefix}{name} is {value!r}: give numbers, texts, true or false, or a list of them.")
        if twice := sorted(found.keys() & inner.keys()):  # "a.b" in quotes, and a.b
            raise ValueError(f"{twice[0]} is set twice: give all its values in one place.")
        found |= inner
    return found


def _named(block: Block) -> list[str]:
    """Every field that a block sets."""
    seed = ["seed"] if block.seeds is not None else []
    return [*block.sets, *(path for table in block.zips for path in table), *seed]


def _joined(a: Block, b: Block) -> Block:
    """The fields of both blocks. Raises ValueError where a field is set twice."""
    named = _named(a) + _named(b)
    if twice := [path for i, path in enumerate(named) if path in named[:i]]:
        raise ValueError(f"{twice[0]} is set twice: give all its values in one place.")
    return Block(a.sets | b.sets, a.zips + b.zips, b.seeds if a.seeds is None else a.seeds)


def _configs(base: Sequence[Config], block: Block) -> list[Config]:
    """Sets the block's fields in the configs of `base`. Configs of `base` that differ in these fields only become one."""
    rows = [*grids.grid_rows(base, block.sets), *(grids.zipped_rows(base, table) for table in block.zips)]
    if (block.seeds or 0) > grids.MAX_CONFIGS:
        raise ValueError(f"seeds is {block.seeds:,}: {grids.MAX_CONFIGS:,} runs are the most.")
    rows += [[{"seed": seed} for seed in range(block.seeds)]] if block.seeds is not None else []
    if rows:
        first = {path: value for block_rows in rows for path, value in block_rows[0].items()}
        kept = {cfg.digest(alike): config for config in reversed(base) if (alike := cfg.overridden(config, first))}
        base = list(reversed(kept.values()))
    return grids.over(base, *rows)
