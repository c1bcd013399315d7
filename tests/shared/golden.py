"""The reference data's attention-only models, in toylab's names."""

from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def attention(reference: Path, name: str) -> tuple[Arrays, Arrays]:
    """(params, everything that was evaluated on them) of `reference/attention/<name>.npz`."""
    found = dict(np.load(reference / "attention" / f"{name}.npz", allow_pickle=False))
    weights = {key.removeprefix("w_"): value for key, value in found.items() if key.startswith("w_")}
    return {key.replace("W_P", "W_pos"): value for key, value in weights.items()}, found


def checkpoint(found: Arrays, step: int) -> tuple[Arrays, Arrays]:
    """The same of one step of g7, whose keys begin with `s<step>_`."""
    start = f"s{step}_"
    at = {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}
    weights = {key.removeprefix("w_"): value for key, value in at.items() if key.startswith("w_")}
    return {key.replace("W_P", "W_pos"): value for key, value in weights.items()}, at
