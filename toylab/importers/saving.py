"""Params written as a file of a layout, and the points of a sweep as many."""

import json
from pathlib import Path
from typing import cast

import numpy as np

from toylab.base import Params
from toylab.importers import checks, safetensors, toys
from toylab.importers.layouts import Layout, forms_of
from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.rules import Arrays, Fit, Form, fit_params
from toylab.models import Net
from toylab.records import Sweep
from toylab.store import durable


def save(params: Params, path: str | Path, layout: Layout, *, net: Net | None = None) -> None:
    """Writes params as `.safetensors`, in the names and orientation of a layout. `load` returns the same bits.

    Args:
        params: to write. Masks are not written.
        path: of the file, ending in .safetensors.
        layout: of the file.
        net: of the params. With it the file has the settings too (activation, attention rate, …), and loads without config.

    Raises:
        ValueError: where the layout cannot hold these params or this net, in one sentence.
        StoreError: where the file cannot be written.
    """
    arrays, about = as_layout(params, layout, net)
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path is {path}: it must end in .safetensors.")
    if not path.parent.is_dir():
        raise ValueError(f"path is {path}: there is no folder {path.parent}.")
    safetensors.write(path, arrays, about)


def save_many(sweep: Sweep, folder: str | Path, layout: Layout) -> None:
    """Writes the points of a sweep as checkpoints `step_100.safetensors`; of several runs each run's are in a folder of its
    name. `load_many` gives the same bits.

    Args:
        sweep: the lab's own, or one of `load_many`; with all params of its net recorded.
        folder: that is made, or is empty.
        layout: of the files.

    Raises:
        ValueError: where the layout cannot hold the nets, params were not recorded, `folder` has something in it, or names
            of runs are the same or can be no folder's.
        StoreError: where a file cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"folder is {printable(folder, 400)}: it must be new or empty.")
    if len(sweep) > 1:
        _check_folders(list(map(str, sweep.runs)))
    for source, rows in sweep.each():
        steps = source.group.steps
        for row, at, params in source.blocks(rows, 16):
            own = folder / str(source.runs[row]) if len(sweep) > 1 else folder
            for i, step in enumerate(steps[at].tolist()):
                one = {name: value[i] for name, value in params.items()}
                arrays, about = as_layout(one, layout, cast(Net, source.config(row).net))
                durable.make(own)
                safetensors.write(own / f"step_{step}.safetensors", arrays, about)


def _check_folders(names: list[str]) -> None:
    """Each run has a folder of its own, within the one that is given."""
    if odd := [name for name in names if Path(name).name != name or name in ("", "..") or "\0" in name]:
        raise Refusal(f"sweep has a run named {printable(odd[0])!r}: it can be no folder; give runs other names.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refusal(f"sweep has several runs named {listed(twice)}: save those of one name one by one (select).")


def as_layout(params: Params, layout: Layout, net: Net | None) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a layout for params, and what the file says of them. Raises as `save`."""
    if not isinstance(layout, str):
        raise ValueError("layout is a mapping of your own: save writes a layout that has a name, such as toylab.")
    forms = forms_of(layout)
    arrays = {name: checks.values(name, np.asarray(value)) for name, value in params.items()}
    settings = toys.settings_of_net(net) if net is not None else None
    if net is not None:
        checks.fitting(net, params, "params do")
    if layout != "toylab":
        written = [form for form in forms if form.written]
        if not written:
            raise ValueError(f"layout is {layout}: it is read alone; save writes toylab, for one.")
        best = min((_fit(form, arrays) for form in written), key=lambda found: found.n_problems)
        if best.n_problems:
            raise ValueError(f"params do not fit layout {layout} ({best.form.what}): {best.problems()}.")
        arrays = checks.their_arrays(best, arrays)
        settings = checks.settings_for(best, net, layout) if net is not None else None
    about = {"layout": layout} | ({"settings": json.dumps(settings)} if settings is not None else {})
    return arrays, about


def _fit(form: Form, arrays: Arrays) -> Fit:
    """How params fit a form, but for those that it has not and that are 0."""
    kept = {name: array for name, array in arrays.items() if name not in form.absent or array.any()}
    return fit_params(form, {name: array.shape for name, array in kept.items()})
