"""What the views of networks that add share: the modulus, the spectra of W_E and of W_L, the key frequencies."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from toylab.analysis.modular import fourier
from toylab.base import Run
from toylab.explore.moment import Moment
from toylab.tasks import ModularArithmetic

TASKS = ("ModularArithmetic", "ModularPairs", "ModularPrompts")  # where the config is known by its columns alone
MEASURES = {"W_E": "embedding/spectrum", "W_L": "neuron_logit/spectrum"}
READ = {"W_E": ("W_E", -2), "W_L": ("W_U", -1)}  # the param that a spectrum is read of, and its axis of numbers

_spectrum = jax.jit(fourier.spectrum, static_argnames="axis")


def modulus(moment: Moment) -> int | None:
    """p of a task of numbers modulo p; None of another task."""
    if moment.config is not None:
        return moment.task.p if isinstance(moment.task, ModularArithmetic) else None
    columns = moment.recording.columns
    if not {"task.type", "task.p"} <= set(columns):
        return None
    kind = str(columns["task.type"][moment.run]).rpartition(".")[2]
    return int(columns["task.p"][moment.run]) if kind in TASKS else None


def known(moment: Moment) -> int:
    """`modulus`, for what is drawn of such tasks alone.

    Raises:
        ValueError: For another task.
    """
    p = modulus(moment)
    if p is None:
        raise ValueError(f"the task of {moment.name} is not one of numbers modulo p.")
    return p


def lacks_weights(moment: Moment, names: Sequence[str]) -> str:
    """Why these params are not there, in a sentence; "" where they are."""
    if not moment.shapes:
        return moment.recording.no_params or "The weights are not recorded."
    if moment.config is None:
        return f"The config of {moment.name} is not known."
    absent = [name for name in names if name not in moment.shapes]
    own = moment.kept("names of the params", lambda: _param_names(moment))
    if foreign := [name for name in absent if own and name not in own]:
        return f"The network has no {' and no '.join(foreign)}."
    return f"{', '.join(absent)} is not recorded." if absent else ""


def lacks_table(moment: Moment, which: str) -> str:
    """Why W_E or W_L cannot be computed of the weights, in a sentence; "" where it can."""
    name, axis = READ[which]
    if why := lacks_weights(moment, [name]):
        return why
    shape, p = moment.shapes[name], known(moment)
    if len(shape) < 2 or shape[axis] < p:
        what = "rows" if axis == -2 else "columns"
        return f"{name} has shape {list(shape)}: the numbers modulo {p} need at least {p} {what}."
    return ""


def spectrum(moment: Moment, which: str) -> np.ndarray | None:
    """[p//2 + 1]: the energies of W_E or W_L at this point, measured or else of the weights; None if neither is there."""
    n = known(moment) // 2 + 1
    if moment.has(MEASURES[which]):
        return moment.now(MEASURES[which])[:n].astype(np.float32)
    if lacks_table(moment, which):
        return None
    return np.asarray(_spectrum(table(moment, which), axis=0 if which == "W_E" else 1))


def table(moment: Moment, which: str) -> np.ndarray:
    """W_E [p, n], the rows of the numbers, or W_L [m, p] of the weights, which `lacks_table` says are there."""
    params = {name: jnp.asarray(moment.params[name]) for name in ("W_E", "W_out", "W_U") if name in moment.shapes}
    run = Run(config=moment.config, data={})
    return np.asarray(fourier.number_rows(params, run) if which == "W_E" else fourier.neuron_to_logit(params, run))


def key_frequencies(moment: Moment) -> np.ndarray:
    """bool [p//2 + 1]: what has over 2 % of the non-constant energy of W_E and of W_L at the last point, as far as the two
    are known. None is where an energy is not finite."""
    key = np.ones(known(moment) // 2 + 1, bool)
    found = [energy for energy in last_spectra(moment).values() if energy is not None]
    for energy in found:
        key &= np.asarray(fourier.key_frequencies(energy)) if np.isfinite(energy).all() else False
    return key & bool(found)


def last_spectra(moment: Moment) -> dict[str, np.ndarray | None]:
    """`spectrum` of both at the run's last point. Read once, and again when the run has gone on; None where the point is
    damaged."""
    last = moment.other(-1)
    try:
        return moment.kept(("spectra", last.step), lambda: {which: spectrum(last, which) for which in MEASURES})
    except LookupError:
        return dict.fromkeys(MEASURES)


def _param_names(moment: Moment) -> frozenset[str]:
    """Of all params that the net has; empty where that is not known."""
    return frozenset(jax.eval_shape(moment.net.init, jax.random.key(0))) if hasattr(moment.net, "init") else frozenset()
