"""Published models: networks that others trained to add, measured here, with their authors' numbers beside ours.

Claim     The measures of toylab.analysis.modular.circuits are those of the paper: on the paper's own networks they give
          the paper's own numbers. Which networks are pizzas, which clocks, and which do not add at all, follows from
          them.
Source    Zhong et al. 2023, The Clock and the Pizza (arXiv 2306.17844): released networks, their run tables and figures.
          The authors' formulas were also evaluated in PyTorch on 10 of the 18 networks, by others than us. Chughtai et
          al. 2023, A toy model of universality (arXiv 2302.03025): the numbers of 33 runs.
Expect    Model A (p99zdpze5l): gradient symmetricity 0.9937, distance irrelevance 0.1717, a pizza explains 98.3 % of a
          circle's logits, a clock 75.4 %. Model B (l8k1hzciux): 0.3336, 0.8483, a clock 76.6 %, a pizza 59.6 %.
Cost      cpu and paper are the same, all networks: two minutes on one core, nearly all of it compiling. smoke: two.
Command   python run_sweep.py published_models [--set weights=FOLDER] [--scale smoke|cpu|paper]
Weights   They are no part of toylab, and come from the public repository fjzzq2002/pizza (MIT). FOLDER (by default
          TOYLAB_REFERENCE, or ../shared/reference) holds, itself or in pizza/, model_NAME.pt with config_NAME.json as
          they are released (needs torch), or converted, NAME.npz or NAME.safetensors with NAME.config.json beside it:
              net, params = importers.load("model_NAME.pt", layout="pizza")
              importers.save(params, "NAME.safetensors", layout="pizza", net=net)
          golden.json (the evaluation in PyTorch) and 1l_fixedwidth_dev.npz (the authors' table of runs) are read where
          they lie beside them; a claim with nothing to compare is not applicable. The networks of Chughtai et al. have
          no licence: of these published_numbers.json alone is read, from FOLDER itself.
Changed   That the authors' formulas in PyTorch give our numbers, that no circuit is told of a network that does not add,
          and the sum of squared similarities of Chughtai et al.'s runs, were claims. They are checks of our code, and
          tests now; the figure and models.md show them. Claims are what the paper and its table of runs state.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from toylab import importers
from toylab.analysis.groups import composition as groups
from toylab.analysis.modular.circles import components
from toylab.analysis.modular.circuits import circuit_report
from toylab.analysis.modular.measures import most_varying
from toylab.claims import Claim, Identity, Source
from toylab.importers import pizza_release as release
from toylab.importers.pizza_release import P
from toylab.lab import Arrays, Imported, Measures, Scale
from toylab.plots import periodic
from toylab.plots import published as plots

MODEL_A, MODEL_B, MODEL_BETA, FAILED = "p99zdpze5l", "l8k1hzciux", "p71frej8t7", "n9n7h3p965"
SMOKE = (MODEL_A, FAILED)  # the paper's pizza and a network that does not solve the task
PRINTED: dict[str, dict[str, Any]] = {  # in the paper; circles 1 to 3
    MODEL_A: {"gradient_symmetricity": 0.993665, "distance_irrelevance": 0.171736, "circularity": 0.997818,
              "norm": 22.854, "clock": (0.7541, 0.7562, 0.7538), "pizza": (0.9831, 0.9831, 0.9841)},
    MODEL_BETA: {"gradient_symmetricity": 1.0, "distance_irrelevance": 0.230205, "circularity": 0.995042,
                   "pizza": (0.9799, 0.9748, 0.9822)},
}  # fmt: skip
TOLERANCE = {  # relative for norm and loss
    "gradient_symmetricity": 1e-4, "distance_irrelevance": 1e-4, "distance_irrelevance_incorrect": 1e-4,
    "circularity": 5e-4, "norm": 1e-5, "clock": 2e-4, "pizza": 2e-4, "pizza_appendix": 2e-4, "accompanying": 2e-4,
    "logits": 1e-3,
}  # fmt: skip
RELATIVE = ("norm", "loss")
PROBED = (0, 0), (1234, 17), (3480, 58)  # pair, row-major, and class


# --- ours, and theirs


def files(folder: Path, scale: Scale) -> dict[str, Path]:
    """The released networks in a folder, by name; at scale smoke two."""
    found = release.networks(folder)
    few = [name for name in SMOKE if name in found] or list(found)[:2]
    return {name: found[name] for name in few} if scale == "smoke" else found


def measure(folder: Path, names: Sequence[str]) -> Arrays:
    """Per model [M]: what it is, ours/…, theirs/… and listed/… (nan: not known); the authors' table [N]; groups/… [G]."""
    found, golden, table = release.networks(folder), release.evaluations(folder), release.table(folder)
    ours = [measured(found[name]) for name in names]
    out = {f"ours/{key}": np.stack([np.asarray(one[key]) for one in ours]) for key in ours[0]}
    settings = [release.settings(release.beside(found[name])) for name in names]
    out["model"] = np.array(names)
    out["kind"] = np.array([release.kind(one) for one in settings])
    out["attention_rate"] = np.array([one.get("attn_coeff", np.nan) for one in settings], float)
    theirs = [release.evaluated(golden.get(name, {})) for name in names]
    out |= {f"theirs/{key}": np.stack([one[key] for one in theirs]) for key in theirs[0]}
    rows = [release.listed(name, golden.get(name, {}), table) for name in names]
    out |= {f"listed/{key}": np.array([row[key] for row in rows]) for key in release.LISTED}
    out |= {f"printed/{key}": value for key, value in printed(names).items()}
    out |= {f"table/{key}": value for key, value in release.circular_runs(table).items()}
    out |= over_pairs(found[of_pairs(names)])
    return out | of_groups(folder)


def loaded(path: Path) -> tuple[Any, Any, Any, Any]:
    """A network, its params, and logits and cache of all pairs, row by row."""
    net, params = importers.load(path, layout="pizza", config=release.beside(path))
    a, b = np.divmod(np.arange(P * P), P)
    separate = np.shape(params["W_E"])[0] >= 2 * P
    logits, cache = net.apply(params, jnp.asarray(np.stack([a, b + P * separate], axis=1)))
    return net, params, np.asarray(logits).reshape(P * P, -1, np.shape(params["W_U"])[-1])[:, -1], cache


def of_pairs(names: Sequence[str]) -> str:
    """The network of which pictures over all pairs are kept."""
    return MODEL_B if MODEL_B in names else names[0]


def over_pairs(path: Path) -> Arrays:
    """Of a network [P, P] over all pairs: what varies most of its attention to a and of its neurons, and one logit."""
    _, _, logits, cache = loaded(path)
    acts = np.asarray(cache["mlp_post"])[-1].reshape(P * P, -1, np.shape(cache["mlp_post"])[-1])[:, -1]
    found = {"a neuron": acts, "logit of class 0": logits[:, :1]}
    if "pattern" in cache:  # from the last position to the first
        found = {"attention to a": np.asarray(cache["pattern"])[-1, :, :, -1, 0]} | found
    return {"pairs/name": np.array(list(found), "U16"),
            "pairs/values": np.stack([most_varying(values) for values in found.values()])}  # fmt: skip


def measured(path: Path) -> dict[str, Any]:
    net, params, logits, _ = loaded(path)
    report = circuit_report(net, params)
    n = np.arange(P)
    a, b = np.stack([n[:, None] + n, n[:, None] - n]) * (P + 1) // 2 % P  # of a + b (rows) and a − b (columns)
    circles = {key: _four([circle[key] for circle in report["circles"]]) for key in ("frequency", *release.CANDIDATES)}
    weights = [np.asarray(value, float) for value in params.values()]
    return {
        **{key: report[key] for key in release.EVALUATED if key != "norm"},
        "norm": np.sqrt(sum((value**2).sum() for value in weights)),
        "circuit": np.array(report["circuit"], "U20"),
        "frequencies": np.isin(np.arange(P // 2 + 1), report["frequencies"]),
        "circle_frequency": np.nan_to_num(circles.pop("frequency"), nan=-1).astype(int),
        **circles,
        "logits": [logits[at] for at in PROBED],
        "correct_logit": logits[(a * P + b), (a + b) % P].astype(np.float32),  # [P, P]
        "components": np.asarray(components(params["W_E"]).scores)[:P, :4].astype(np.float32),
    }


def _four(values: Sequence[float]) -> np.ndarray:
    """[4], nan for the circles that a narrow embedding does not have."""
    return np.array([*values, *[np.nan] * 4], float)[:4]


def printed(names: Sequence[str]) -> dict[str, np.ndarray]:
    """What the paper prints, [M] and of circles [M, 3]."""
    keys = [key for key in TOLERANCE if any(key in one for one in PRINTED.values())]
    none = {key: (np.nan,) * 3 if key in release.CANDIDATES else np.nan for key in keys}
    rows = [none | PRINTED.get(name, {}) for name in names]
    return {key: np.array([row[key] for row in rows]) for key in keys}


def of_groups(folder: Path) -> Arrays:
    """Of Chughtai's runs the published share of logits explained, and ours from the published similarities."""
    runs = release.settings(folder / "published_numbers.json").get("chughtai", {})
    key = [np.array([0, *run["logit_similarity_of_key_reps"].values()]) for run in runs.values()]
    return {
        "groups/run": np.array(list(runs), "U24"),
        "groups/ours": np.array([float(groups.logit_fve(one)) for one in key]),
        "groups/theirs": np.array([run["summary_metrics"]["percent_logits_explained"] for run in runs.values()]),
        "groups/n_key": np.array([int(np.asarray(groups.key_representations(one)).sum()) for one in key]),
        "groups/n_key_theirs": np.array([len(run["key_reps"]) for run in runs.values()]),
    }


# --- claims


def off(m: Measures, key: str, source: str = "theirs") -> np.ndarray:
    """[M] |ours − theirs|, relative where tolerances are, largest over circles or probes; nan: theirs is not known."""
    ours, theirs = m[f"ours/{key}"], m[f"{source}/{key}"]
    ours = ours[:, : theirs.shape[1]] if theirs.ndim == 2 else ours
    found = np.abs(ours - theirs) / (np.abs(theirs) if key in RELATIVE else 1)
    return found.reshape(len(found), -1).max(axis=1)


def solves(m: Measures) -> np.ndarray:
    return m["ours/accuracy"] >= 0.99


def of_model(m: Measures, key: str, model: str) -> np.ndarray:
    """What we find of a network: one value, or those of its first three circles; none where it is not there."""
    found = m[f"ours/{key}"][m["model"] == model]
    return found[:, :3].ravel() if found.ndim == 2 else found


def off_printed(m: Measures, key: str, model: str) -> np.ndarray:
    """[3]: circle by circle, ours less the paper's."""
    return of_model(m, key, model) - np.array(PRINTED[model][key])


def off_listed(m: Measures, key: str) -> np.ndarray:
    """Of each network in the authors' table, ours less theirs, for the norm relative to it."""
    found = (m[f"ours/{key}"] - m[f"listed/{key}"]) / (m[f"listed/{key}"] if key in RELATIVE else 1)
    return found[~np.isnan(found)]


ZHONG = "Zhong et al. 2023"
LETTERS = {MODEL_A: "model A", MODEL_BETA: "model β"}
TOLD = {"gradient_symmetricity": "gradient symmetricity", "distance_irrelevance": "distance irrelevance",
        "distance_irrelevance_incorrect": "distance irrelevance, largest incorrect logit", "circularity": "circularity",
        "norm": "norm of all parameters", "clock": "clock FVE", "pizza": "pizza FVE"}  # fmt: skip


def of_printed(model: str, key: str) -> Claim:
    """What the paper prints of a network, within roundings of 32 bits."""
    value, name = PRINTED[model][key], f"{LETTERS[model]}: {TOLD[key]}"
    event = f"{LETTERS[model]}, {'circles' if key in release.CANDIDATES else key}"
    where = f"{LETTERS[model]}, printed"
    if isinstance(value, tuple):
        source = Source(ZHONG, where, f"{', '.join(f'{100 * one:.2f}' for one in value)} %", 1)
        return Claim(f"{name} of circles 1 to 3, less the paper's", source, partial(off_printed, key=key, model=model),
                     Identity(0, TOLERANCE[key]), "check", each="circle", event=event)  # fmt: skip
    slack = TOLERANCE[key] * (value if key in RELATIVE else 1) + (5e-4 if key == "norm" else 0)  # it prints two digits
    return Claim(name, Source(ZHONG, where, f"{value}", 1), partial(of_model, key=key, model=model),
                 Identity(value, slack), "check", each="model", event=event)  # fmt: skip


CLAIMS = [
    *(of_printed(model, key) for model, printed in PRINTED.items() for key in printed),
    *(Claim(f"{TOLD[key]}, less the table's", Source(ZHONG, "released table of runs", "a value a run", 4),
            partial(off_listed, key=key), Identity(0, TOLERANCE[key]), "check", each="model") for key in release.LISTED),
]  # fmt: skip


# --- what is shown


def plane(m: Measures) -> Any:
    of_table = {key: m[f"table/{key}"] for key in ("attention_rate", *release.LISTED) if f"table/{key}" in m}
    return plots.plane(models_of(m), of_table)


def models_of(m: Measures) -> list[plots.Model]:
    letters = {MODEL_A: "A", MODEL_B: "B", MODEL_BETA: "β"}
    ours, theirs = ([key for key in m if key.startswith(f"{source}/")] for source in ("ours", "theirs"))
    return [
        plots.Model(
            letters.get(str(m["model"][i]), ""), str(m["kind"][i]), str(m["ours/circuit"][i]), bool(solves(m)[i]),
            {key.removeprefix("ours/"): m[key][i] for key in ours},
            {key.removeprefix("theirs/"): m[key][i] for key in theirs},
        )
        for i in range(len(m["model"]))
    ]  # fmt: skip


def compared(m: Measures) -> str:
    """models.md: every model, ours and theirs."""
    groups = [m[f"groups/{key}"] for key in ("run", "n_key", "n_key_theirs", "ours", "theirs")]
    return plots.table(m["model"], m["attention_rate"], models_of(m)) + plots.table_of_groups(*groups)


def differences(m: Measures) -> Any:
    names = {
        "gradient_symmetricity": "gradient symmetricity", "distance_irrelevance": "distance irrelevance",
        "distance_irrelevance_incorrect": "– incorrect logit", "circularity": "circularity", "clock": "clock FVE",
        "pizza": "pizza FVE", "pizza_appendix": "– of the appendix", "accompanying": "accompanying FVE",
        "norm": "norm (relative)", "logits": "three logits",
    }  # fmt: skip
    return plots.differences({told: (off(m, key), TOLERANCE[key]) for key, told in names.items()}, solves(m))


def explained(m: Measures) -> Any:
    return plots.explained(models_of(m))


def portraits(m: Measures) -> Any:
    chosen = {"A": MODEL_A, "B": MODEL_B, "does not solve it": FAILED}
    if not np.isin(m["model"], list(chosen.values())).any():
        chosen = {str(name): name for name in m["model"][:3]}
    at = {name: np.flatnonzero(m["model"] == model) for name, model in chosen.items()}
    return plots.portraits(
        {name: (m["ours/components"][i[0]], m["ours/circle_frequency"][i[0]], m["ours/correct_logit"][i[0]])
         for name, i in at.items() if i.size}
    )  # fmt: skip


def pairs(m: Measures) -> Any:
    name = of_pairs(m["model"].tolist())
    pictures = dict(zip(m["pairs/name"].tolist(), m["pairs/values"], strict=True))
    return periodic.over_pairs(pictures, "model B" if name == MODEL_B else f"network {name}")


IMPORTED = Imported(files, measure, compared)
FIGURES = {"plane": plane, "differences": differences, "explained": explained, "portraits": portraits,
           "pairs": pairs}  # fmt: skip
