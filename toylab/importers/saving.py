"""Params written as a file of a layout."""

import json
from pathlib import Path

import numpy as np

from toylab.base import Params
from toylab.importers import checks, safetensors, toys
from toylab.importers.layouts import Layout, forms_of
from toylab.importers.rules import Arrays, Fit, Form, fit_params
from toylab.models import Net


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
    if not isinstance(layout, str):
        raise ValueError("layout is a mapping of your own: save writes a layout that has a name, such as toylab.")
    forms, path = forms_of(layout), Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path is {path}: it must end in .safetensors.")
    if not path.parent.is_dir():
        raise ValueError(f"path is {path}: there is no folder {path.parent}.")
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
    safetensors.write(path, arrays, about)


def _fit(form: Form, arrays: Arrays) -> Fit:
    """How params fit a form, but for those that it has not and that are 0."""
    kept = {name: array for name, array in arrays.items() if name not in form.absent or array.any()}
    return fit_params(form, {name: array.shape for name, array in kept.items()})
