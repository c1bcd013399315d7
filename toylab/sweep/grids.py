"""Lists of configs for a sweep: every combination (`grid`), fields that go together (`zipped`), unions (`chain`).

Fields are named by dotted paths (`optimizer.weight_decay`, `net.d_model`), and their values are Python values or text:
`grid(base, {"optimizer.weight_decay": "0.1:3:log8", "seed": range(4)})`. All three return plain lists of checked configs.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toylab import configs as cfg
from toylab.base import Config

Base = Config | Sequence[Config]
Fields = Mapping[str, Any]  # dotted path → values: a list or array, or a text as `values` reads it
Row = dict[str, Any]  # one value for each of some fields
MAX_RANGE, MAX_CONFIGS = 10_000, 1_000_000
WHOLE = re.compile(r"-?\d{1,10}:-?\d{1,10}:-?\d{1,10}")  # start:stop:step


def grid(base: Base, fields: Fields) -> list[Config]:
    """The configs of `base` with every combination of the fields' values. The last field varies fastest.

    Args:
        base: a config or several.
        fields: values by dotted path: a list, an array, or a text as `values` reads it.

    Returns:
        Checked configs.

    Raises:
        ValueError: where a field or value does not fit, or there are more than a million configs.
    """
    return over(base, *grid_rows(base, fields))


def zipped(base: Base, fields: Fields) -> list[Config]:
    """The configs of `base` with the fields' first values, then with their second values, and so on.

    Args and errors are those of `grid`; all fields have the same number of values.
    """
    return over(base, zipped_rows(base, fields))


def chain(*lists: Iterable[Config]) -> list[Config]:
    """The lists one after another. Raises ValueError where a config occurs twice."""
    found = cfg.checked(config for configs in lists for config in configs)
    cfg.distinct(found)
    return found


def grid_rows(base: Base, fields: Fields) -> list[list[Row]]:
    """For each field a list of rows, each with one of its values."""
    return [[{path: value} for value in column] for path, column in _columns(base, fields).items()]


def zipped_rows(base: Base, fields: Fields) -> list[Row]:
    """A row for each position in the fields' values."""
    columns = _columns(base, fields)
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{path} has {len(column)}" for path, column in columns.items())
        raise ValueError(f"zipped fields need as many values each: {lengths}.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] if columns else [{}]


def over(base: Base, *rows: Sequence[Row]) -> list[Config]:
    """Each config of `base` with one row of every block, in every combination.

    Configs are checked at the end only, because a field may fit only together with that of another block.
    """
    configs = list(_listed(base))
    if any(cfg.is_part(configs[0], cfg.plain(configs[0], path)) for block in rows for row in block[:1] for path in row):
        rows = (_combined(rows),)  # the fields of a new class are set together with it
    if (n_runs := len(configs) * math.prod(map(len, rows))) > MAX_CONFIGS:
        raise ValueError(f"the grid has {n_runs:,} runs: give fewer values, {MAX_CONFIGS:,} runs are the most.")
    for block in rows:
        configs = [cfg.overridden(config, row) for config in configs for row in block]
    return cfg.checked(configs)


def _combined(rows: Sequence[Sequence[Row]]) -> list[Row]:
    """One row for every combination of a row of each block."""
    if (n_rows := math.prod(map(len, rows))) > MAX_CONFIGS:
        raise ValueError(f"the grid has {n_rows:,} runs: give fewer values, {MAX_CONFIGS:,} runs are the most.")
    return [{path: value for row in chosen for path, value in row.items()} for chosen in itertools.product(*rows)]


def values(text: str, whole: bool = False) -> list[Any]:
    """The values of a text.

    Args:
        text: `1,2,3`; a range `low:high:logN` or `low:high:linN` of N values with both ends; or a mixture, `0,0.1:3:log8`.
            Of whole numbers also `start:stop:step`, with both ends.
        whole: round the values of ranges to whole numbers.

    Raises:
        ValueError: where the text is no list of values, or two values round to the same number.
    """
    found: list[Any] = []
    for item in text.split(","):
        if not item:
            raise ValueError(f"{text!r} lacks a value: give them as 1,2,3 or as a range, 0.1:3:log8.")
        found += _range(item, whole) if ":" in item else [item]
    return found


def _range(text: str, whole: bool) -> list[Any]:
    if whole and WHOLE.fullmatch(text):
        return _evenly(text, *map(int, text.split(":")))
    low, high, kind, n = _ends(text)
    if n < 2 or n > MAX_RANGE:
        raise ValueError(f"the range {text} has {n} values: give at least 2 and at most {MAX_RANGE:,}.")
    if not low < high:
        raise ValueError(f"the range {text} goes from {low:g} to {high:g}: its first number must be the lower one.")
    if kind == "log" and low <= 0:
        raise ValueError(
            f"the range {text} starts at {low:g}: a constant ratio needs numbers above 0 (or take lin{n})."
        )
    points = np.geomspace(low, high, n) if kind == "log" else np.linspace(low, high, n)
    if not whole:
        return points.tolist()
    rounded = sorted({round(float(point)) for point in points})
    if len(rounded) < n:
        raise ValueError(f"the range {text} has only {len(rounded)} different whole numbers: ask for fewer.")
    return rounded


def _evenly(text: str, start: int, stop: int, step: int) -> list[int]:
    if not (start < stop and step > 0) or (stop - start) % step:
        raise ValueError(
            f"the range {text} must ascend from {start} to {stop} in equal steps: give start:stop:step, as 0:1000:50."
        )
    if (n := (stop - start) // step + 1) > MAX_RANGE:
        raise ValueError(f"the range {text} has {n:,} values: give at most {MAX_RANGE:,}.")
    return list(range(start, stop + 1, step))


def _ends(text: str) -> tuple[float, float, str, int]:
    try:
        low, high, steps = text.split(":")
        kind, n = steps[:3], steps[3:]
        if kind in ("log", "lin") and math.isfinite(float(low)) and math.isfinite(float(high)):
            return float(low), float(high), kind, int(n)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no range: give low:high:logN or low:high:linN, as 0.1:3:log8.")


def _columns(base: Base, fields: Fields) -> dict[str, list[Any]]:
    """Each field's values, at least one."""
    first, new = _of_new_classes(next(_listed(base)), fields)
    found = {}
    for path, given in fields.items():
        kind = cfg.takes(first, path, new)
        try:
            listed = [given] if isinstance(given, str) else list(given)
            column = [value for item in listed for value in _read(item, kind)]
        except TypeError:
            raise ValueError(f"{path} is {given!r}: give a list of values, as [{given!r}].") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        if not column:
            raise ValueError(f"{path} has no values: a grid of zero runs trains nothing.")
        found[path] = column
    return found


def _of_new_classes(config: Config, fields: Fields) -> tuple[Config, list[str]]:
    """The config with the first of the classes that the fields name, since their own fields may be among the others; and
    the parts that they are of."""
    given = {cfg.plain(config, path): value for path, value in fields.items()}
    parts = [path for path in given if cfg.is_part(config, path)]
    first = {path: value for path, values in given.items() for value in _first(values)}
    return cfg.with_classes(config, first) if parts else config, parts


def _first(given: Any) -> list[Any]:
    """The first of a field's values, if there is one; of what is no list, which is refused later, itself."""
    listed = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    return [one.strip() if isinstance(one, str) else one for one in itertools.islice(listed, 1)]


def _read(item: Any, kind: Any) -> list[Any]:
    if not isinstance(item, str):
        return [item]
    return values(item, whole=kind is int) if kind in (int, float) else [word.strip() for word in item.split(",")]


def _listed(base: Base) -> Iterator[Config]:
    configs = list(base) if isinstance(base, Sequence) else [base]
    if not configs:
        raise ValueError("the base has no configs: a grid of zero runs trains nothing.")
    return iter(configs)
