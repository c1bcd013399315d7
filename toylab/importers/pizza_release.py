"""What Zhong et al. 2023 (The Clock and the Pizza, arXiv 2306.17844) released, by the names of this package.

A folder holds, itself or in pizza/:

    model_NAME.pt with config_NAME.json    a network and its settings, as released
    NAME.npz or NAME.safetensors with NAME.config.json    the same, converted
    1l_fixedwidth_dev.npz    the authors' table of runs
    golden.json    the authors' formulas, evaluated in PyTorch on some of the networks

The last two may be missing. What a file does not say is nan, and -1 for a frequency.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toylab.importers import npz
from toylab.importers.files import settings_of

SUFFIXES = (".npz", ".safetensors", ".pt")
P = 59  # the modulus of every network
CANDIDATES = {"clock": "Qclock", "pizza": "Qpizza", "pizza_appendix": "Qpizza_appendix",
              "accompanying": "Qpizza_accomp_halffreq"}  # fmt: skip
EVALUATED = {  # our names → golden.json
    "accuracy": "accuracy_all_pairs", "errors": "n_errors", "loss": "ce_float64_all_pairs", "norm": "param_l2_norm",
    "gradient_symmetricity": "gradient_symmetricity", "distance_irrelevance": "distance_irrelevance",
    "distance_irrelevance_incorrect": "distance_irrelevance_max_incorrect_logit", "circularity": "circularity",
}  # fmt: skip
LISTED = {  # our names → the authors' table of runs, which has rounded to nine digits
    "gradient_symmetricity": "gradient_sim", "distance_irrelevance_incorrect": "distance_irrelevance",
    "circularity": "circularity", "norm": "parameter_norm",
}  # fmt: skip


def place(folder: Path) -> Path:
    """Where the files lie: in pizza/ of the folder if there is one, else in the folder."""
    return folder / "pizza" if (folder / "pizza").is_dir() else folder


def beside(weights: Path) -> Path:
    """The settings of a network, named as by the authors or as here."""
    if weights.name.startswith("model_"):
        return weights.with_name(f"config_{weights.stem.removeprefix('model_')}.json")
    return weights.with_name(f"{weights.stem}.config.json")


def networks(folder: Path) -> dict[str, Path]:
    """The files of all networks in a folder, by the networks' names.

    Raises:
        ValueError: Where there is none, or one is of another modulus than `P`.
    """
    weights = sorted(path for path in place(folder).iterdir() if path.suffix in SUFFIXES and beside(path).is_file())
    found = {path.stem.removeprefix("model_"): path for path in weights}
    if not found:
        raise ValueError(
            f"weights is {folder}: it has no NAME.npz, .safetensors or .pt with NAME.config.json beside it, itself or in "
            "pizza/; the page says where one gets them."
        )
    if other := [path.name for path in weights if settings(beside(path)).get("C", P) != P]:
        raise ValueError(f"weights is {folder}: {other[0]} is of another modulus than {P}.")
    return found


def settings(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; an empty one where there is no file."""
    return settings_of(path) if path.is_file() else {}


def kind(settings: Mapping[str, Any]) -> str:
    """What a network is, in a few words: its layers, and what it has that others have not."""
    if linear := settings.get("model_type"):
        return f"linear {linear}"
    more = [str(settings["act_fn"])] if settings["act_fn"] != "ReLU" else []
    more += ["own tokens for b"] if settings.get("diff_vocab") else []
    return ", ".join([f"{settings['n_layers']} layer{'s' * (settings['n_layers'] > 1)}", *more])


def evaluations(folder: Path) -> dict[str, Any]:
    """golden.json: what the authors' formulas gave, by network; empty where it is missing."""
    return settings(place(folder) / "golden.json").get("models", {})


def table(folder: Path) -> dict[str, np.ndarray]:
    """The authors' table of runs, by column; empty where it is missing."""
    path = place(folder) / "1l_fixedwidth_dev.npz"
    return npz.read(path) if path.is_file() else {}


def evaluated(golden: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What the authors' formulas gave for a network.

    Args:
        golden: The network's entry of `evaluations`; empty where it has none.

    Returns:
        The scalars of `EVALUATED`, each []; `frequencies` [P // 2 + 1], the mask of the embedding's key frequencies; of
        four circles [4] `circle_frequency` and the share of logits that each of `CANDIDATES` explains; three `logits` [3].
    """
    circles = golden.get("circle_fve", [{}] * 4)
    return {
        **{ours: np.array(golden.get(theirs, np.nan), float) for ours, theirs in EVALUATED.items()},
        "frequencies": np.isin(np.arange(P // 2 + 1), golden.get("embed_dft_freqs_above_2pct", [])),
        "circle_frequency": np.array([circle.get("freq", -1) for circle in circles]),
        **{ours: np.array([circle.get(key, np.nan) for circle in circles]) for ours, key in CANDIDATES.items()},
        "logits": np.array(golden.get("logits_sha_probe", [np.nan] * 3)),
    }


def listed(name: str, golden: Mapping[str, Any], table: Mapping[str, np.ndarray]) -> dict[str, float]:
    """A network's row in the authors' table, by the names of `LISTED`.

    Args:
        name: Of the network.
        golden: Its entry of `evaluations`, which may quote the row.
        table: Of `table`.
    """
    rows = golden.get("csv") or [
        {key: value[at] for key, value in table.items()}
        for at in np.flatnonzero(table.get("runid", np.array([])) == name)
    ]
    return {ours: float((rows[0] if rows else {}).get(theirs, np.nan)) for ours, theirs in LISTED.items()}


def circular_runs(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the authors' table the runs of one layer and vocabulary with a circular embedding, by rising attention rate.

    Returns:
        `attention_rate` and the columns of `LISTED`, each [N]; empty for an empty table.
    """
    if not table:
        return {}
    chosen = (table["n_layers"] == 1) & (table["circularity"] >= 0.99) & (table["diff_vocab"] == 0)
    chosen = np.flatnonzero(chosen & (table["eqn_sign"] == 0))
    chosen = chosen[np.argsort(table["attn_coeff"][chosen], kind="stable")]
    kept = {"attention_rate": "attn_coeff"} | LISTED
    return {ours: table[theirs][chosen] for ours, theirs in kept.items()}
