"""Networks that add modulo p: spectra of W_E and of W_L, numbers on the circle of a frequency (Nanda et al. 2023, arXiv
2301.05217). What they compute over all pairs of numbers is in planes.py, their losses by frequency in progress.py.
"""

import jax
import numpy as np

from toylab.analysis.modular import fourier, planes
from toylab.explore.declaring import Choice, Controls, Whole, view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Dots, Picture
from toylab.explore.views import modulus
from toylab.explore.views.modulus import MEASURES
from toylab.explore.views.over_steps import highest, over_points

MARK = "key frequencies: over 2 % of the energy at the last point"
EMBEDDINGS = "numbers/W_E"  # analysis of the last point
NAMED, ROUND = 31, 8  # up to which p each number is named; how many are beyond it
PHASE, NUMBER = "k · number mod p", "number"
UNITS = {"W_E": "norm (weight units)", "W_L": "norm (weight units²)"}

_plane = jax.jit(planes.frequency_plane)


# --- spectra


def _lacks_spectra(moment: Moment) -> str | None:
    if modulus.modulus(moment) is None:
        return None
    found = [moment.has(MEASURES[which]) or not modulus.lacks_table(moment, which) for which in MEASURES]
    return "" if any(found) else modulus.lacks_table(moment, "W_E")


def _name(moment: Moment, which: str) -> str:
    if which == "W_E":
        return "the embedding W_E"
    return "the unembedding W_U" if getattr(moment.net, "d_mlp", None) == 0 else "the neuron–logit map W_L"


@view("spectra", family="grokking", title="Spectra of W_E and W_L", fits=_lacks_spectra)
def spectra(moment: Moment) -> list[Picture]:
    """Norm of each Fourier component at the step."""
    key, pictures = modulus.key_frequencies(moment), list[Picture]()
    for which in MEASURES:
        energy = modulus.spectrum(moment, which)
        if energy is None:
            continue
        limit = highest(np.sqrt(_over_steps(moment, which))) if moment.has(MEASURES[which]) else None
        pictures.append(
            Bars(
                np.sqrt(energy),
                f"Spectrum of {_name(moment, which)}",
                x="frequency k",
                y=UNITS[which],
                marked=key,
                mark=MARK,
                limit=limit,
            )
        )
    return pictures


def _measured(moment: Moment) -> str | None:
    if modulus.modulus(moment) is None:
        return None
    some = any(moment.has(name) for name in MEASURES.values())
    return "" if some else f"{' and '.join(MEASURES.values())} are not measured."


@view("spectra-over-steps", family="grokking", title="Spectra through training", fits=_measured)
def spectra_over_steps(moment: Moment) -> list[Picture]:
    """Norm of each Fourier component at all points of the run; colours end at the highest but for the constant, k = 0."""
    pictures = list[Picture]()
    for which in [one for one in MEASURES if moment.has(MEASURES[one])]:
        norm = np.sqrt(_over_steps(moment, which))
        title = f"Norm of each frequency of {_name(moment, which)}"
        pictures.append(over_points(moment, norm, title, "frequency k", highest(norm[:, 1:])))
    return pictures


def _over_steps(moment: Moment, which: str) -> np.ndarray:
    """[t, p//2 + 1]: energies."""
    n = modulus.known(moment) // 2 + 1
    return moment.over_steps(MEASURES[which])[:, :n].astype(np.float32)


# --- circles


def _embeddings(moment: Moment) -> np.ndarray | None:
    """[p, n]: at this point; None where they are not known there."""
    p = modulus.known(moment)
    if not modulus.lacks_table(moment, "W_E"):
        return modulus.table(moment, "W_E")
    if moment.step != moment.steps[-1]:
        return None
    last = moment.recording.final[EMBEDDINGS][moment.run][:p].astype(np.float32)
    return last[:, ~np.isnan(last).all(axis=0)]  # runs of other sizes beside it widen the array


def _lacks_embeddings(moment: Moment) -> str | None:
    p = modulus.modulus(moment)
    if p is None:
        return None
    if p < 3:
        return f"p is {p}: a circle needs a frequency that has a sine, and the least such p is 3."
    return "" if EMBEDDINGS in moment.recording.final else modulus.lacks_table(moment, "W_E")


def _circle_controls(moment: Moment) -> Controls:
    p = modulus.known(moment)
    strongest = moment.kept(
        "strongest frequency", lambda: _strongest(moment)
    )  # kept: controls stay while a run goes on
    return {
        "frequency": Whole("frequency k", 1, (p - 1) // 2, strongest),
        "colours": Choice("colours", [PHASE, NUMBER], PHASE),
    }


def _strongest(moment: Moment) -> int:
    """The frequency with a sine that has most energy of W_E at the last point, of the key frequencies if there are some."""
    planes_of_p = (modulus.known(moment) - 1) // 2
    energy = modulus.last_spectra(moment)["W_E"]
    if energy is None and modulus.lacks_table(moment, "W_E") and (W_E := _embeddings(moment.other(-1))) is not None:
        energy = np.asarray(fourier.spectrum(W_E))
    if energy is None or not np.isfinite(energy).all():
        return 1
    key = modulus.key_frequencies(moment)[1 : planes_of_p + 1]
    energy = energy[1 : planes_of_p + 1]
    return int(np.argmax(np.where(key, energy, -1) if key.any() else energy)) + 1


@view("circle", family="grokking", title="Numbers on the circle of a frequency", fits=_lacks_embeddings,
      controls=_circle_controls)  # fmt: skip
def circle(moment: Moment, frequency: int, colours: str = PHASE) -> Dots:
    """The embeddings of the numbers in the plane of a frequency, joined in the order in which it goes round."""
    p = modulus.known(moment)
    if frequency not in range(1, (p - 1) // 2 + 1):
        raise ValueError(f"frequency is {frequency}: with p = {p} it must be a whole number from 1 to {(p - 1) // 2}.")
    if colours not in (PHASE, NUMBER):
        raise ValueError(f"colours is {colours!r}: it must be {PHASE!r} or {NUMBER!r}.")
    phase = frequency * np.arange(p) % p
    order = np.argsort(phase, kind="stable")
    W_E = _embeddings(moment)
    if W_E is None:
        kept = moment.steps[-1]
        points, title = np.full((p, 2), np.nan), f"W_E is kept at the last point alone, step {kept:,}"
    else:
        points = np.asarray(_plane(W_E, frequency))
        energy = np.asarray(fourier.spectrum(W_E))
        share = 100 * energy[frequency] / energy.sum() if np.isfinite(energy).all() and energy.any() else np.nan
        title = f"k = {frequency}: {share:.1f} % of the energy of W_E"
    shown = np.isin(phase, np.round(np.arange(ROUND) * p / ROUND)) | (p <= NAMED)
    names = [str(n) if shown[n] else "" for n in order]
    return Dots(
        points[order, 0],
        points[order, 1],
        title,
        x_label=f"along cos {frequency} (weight units)",
        y_label=f"along sin {frequency} (weight units)",
        names=names,
        values=(phase if colours == PHASE else np.arange(p))[order],
        cyclic=True,
        joined=True,
    )
