"""Arrays with names for their axes: a sweep, or what was measured of it, as an xarray Dataset or a pandas table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    import xarray

Arrays = Mapping[str, np.ndarray]


def dataset(
    steps: np.ndarray, over_time: Arrays, of_runs: Arrays, columns: Arrays, runs: np.ndarray | None = None
) -> "xarray.Dataset":
    """Arrays of runs as an xarray Dataset.

    The dims are `run`, `step`, and for further axes the name of the array and a number: W_E [R, T, p, d] has the
    dims run, step, W_E_0 and W_E_1.

    Args:
        steps: [T].
        over_time: arrays [R, T, …] by name.
        of_runs: arrays [R, …] by name.
        columns: arrays [R, …] by name, which become coordinates.
        runs: [R] the names of the runs, the index of `run`.

    Raises:
        ImportError: where xarray is not installed.
    """
    xr: Any = _extra("xarray")
    coordinates: dict[str, Any] = {"step": ("step", steps)}
    if runs is not None:
        coordinates["run"] = ("run", runs)
    coordinates |= {name: (_dims(name, value, "run"), value) for name, value in columns.items()}
    data = {name: (_dims(name, value, "run", "step"), value) for name, value in over_time.items()}
    data |= {name: (_dims(name, value, "run"), value) for name, value in of_runs.items()}
    return xr.Dataset(data, coords=coordinates)


def table(
    steps: np.ndarray, valid: np.ndarray, over_time: Arrays, of_runs: Mapping[str, Any], runs: Any
) -> "pandas.DataFrame":
    """A pandas table with a row for each run and saved point.

    Args:
        steps: [T].
        valid: [R, T] bool: whether a run has a point at a step; only these have rows.
        over_time: arrays [R, T, …] by name. Those with more axes than two are left out.
        of_runs: a value a run, [R], by name; repeated for its points.
        runs: [R] the names of the runs, or their numbers.

    Raises:
        ImportError: where pandas is not installed.
    """
    pd: Any = _extra("pandas")
    rows, points = np.nonzero(valid)
    columns: dict[str, Any] = {"run": np.asarray(runs)[rows]}
    for name, values in of_runs.items():
        columns[name] = pd.Series(list(values)).take(rows).reset_index(drop=True)
    columns["step"] = steps[points]
    columns |= {name: value[rows, points] for name, value in over_time.items() if value.ndim == 2}
    return pd.DataFrame(columns)


def _dims(name: str, value: np.ndarray, *leading: str) -> tuple[str, ...]:
    return (*leading, *(f"{name}_{axis}" for axis in range(value.ndim - len(leading))))


def _extra(module: str) -> Any:
    try:
        if module == "xarray":
            import xarray as found
        else:
            import pandas as found
    except ImportError:
        raise ImportError(f"this needs {module}, which is not installed: pip install 'toylab[xarray]'.") from None
    return found
