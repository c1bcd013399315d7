"""What a circuit is worth in nats: losses with and without its frequencies or irreducible representations, and the share
of the logits that each representation has (Nanda et al. 2023, arXiv 2301.05217; Chughtai et al. 2023, arXiv 2302.03025)."""

from collections.abc import Sequence

import numpy as np

from toylab.analysis.groups.irreps import representations
from toylab.explore.declaring import view
from toylab.explore.moment import Moment
from toylab.explore.pictures import Bars, Lines, Picture
from toylab.explore.views import modulus
from toylab.explore.views.over_steps import highest, over_points
from toylab.tasks import GroupComposition

RESTRICTED, EXCLUDED, EACH = "loss/restricted", "loss/excluded", "loss/excluded_each"
OF_GROUP = {RESTRICTED: "formation/restricted_loss", EXCLUDED: "formation/excluded_loss"}
SIMILARITY = "formation/similarity"


# --- losses


def _losses(moment: Moment) -> dict[str, str]:
    """Legend → measure. Train and test loss stand there where they are cross-entropies, as the other two are."""
    names = [RESTRICTED, EXCLUDED] if modulus.modulus(moment) is not None else list(OF_GROUP.values())
    both = {"train": "train_loss", "test": "test_loss"} if _in_nats(moment) else {}
    return {**both, "restricted": names[0], "excluded": names[1]}


def _in_nats(moment: Moment) -> bool:
    return str(getattr(moment.task, "loss_kind", "cross_entropy")).endswith("cross_entropy")


def _group(moment: Moment) -> GroupComposition | None:
    return moment.task if isinstance(moment.task, GroupComposition) else None


def _lacks_losses(moment: Moment) -> str | None:
    if modulus.modulus(moment) is None and _group(moment) is None:
        return None
    names = list(_losses(moment).values())[-2:]
    return "" if any(map(moment.has, names)) else f"{' and '.join(names)} are not measured."


@view("progress-losses", family="grokking", title="Restricted and excluded loss", fits=_lacks_losses)
def progress_losses(moment: Moment) -> list[Picture]:
    """The losses over the steps of the run, and the training loss without each key frequency at this one."""
    lines = {label: moment.over_steps(name) for label, name in _losses(moment).items() if moment.has(name)}
    what = "frequencies" if _group(moment) is None else "representations"
    pictures: list[Picture] = [
        Lines(
            moment.steps,
            lines,
            f"Losses with and without key {what}",
            x_label="step",
            y_label="loss (nats)",
            log_y=True,
            at=moment.step,
        )
    ]
    if modulus.modulus(moment) is not None and moment.has(EACH):
        pictures.append(_without_each(moment))
    return pictures


def _without_each(moment: Moment) -> Bars:
    n = modulus.known(moment) // 2 + 1
    over_steps = moment.over_steps(EACH)[:, :n]
    key = np.flatnonzero(np.isfinite(over_steps).any(axis=0))
    whole = f" ({moment.now('train_loss'):.2g} with all)" if moment.has("train_loss") and _in_nats(moment) else ""
    return Bars(
        moment.now(EACH)[:n][key],
        f"Train loss without k{whole}",
        x="frequency k that is left out",
        y="loss (nats)",
        names=[str(k) for k in key],
        limit=highest(over_steps),
    )


# --- irreducible representations


def _lacks_shares(moment: Moment) -> str | None:
    if _group(moment) is None:
        return None
    return "" if moment.has(SIMILARITY) else f"{SIMILARITY} is not measured."


def _names(task: GroupComposition) -> Sequence[str]:
    return representations(task.group, task.n).names


@view("representations", family="grokking", title="Irreducible representations in the logits", fits=_lacks_shares)
def irreps(moment: Moment) -> list[Picture]:
    """The share of the logits' energy, centred by input, along the trace of each irreducible representation."""
    task = _group(moment)
    if task is None:
        raise ValueError(f"the task of {moment.name} is not the composition in a group.")
    names = _names(task)
    shares = moment.over_steps(SIMILARITY)[:, : len(names)] ** 2
    bars = Bars(
        moment.now(SIMILARITY)[: len(names)] ** 2,
        "Share of the logits' energy of each ρ",
        x="representation ρ",
        y="share along tr ρ(a)ρ(b)ρ(c⁻¹)",
        names=names,
        limit=highest(shares),
    )
    title = "Share of each representation through training"
    return [bars, over_points(moment, shares, title, "representation ρ", highest(shares), names)]
