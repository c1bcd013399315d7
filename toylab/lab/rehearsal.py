"""Tries the analyses and claims of a page on shapes, before anything is trained."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from toylab import configs as cfg
from toylab import lab, sweep, train
from toylab.base import Config, Run
from toylab.claims import Claim
from toylab.lab import Measures, Part
from toylab.lab.measuring import composed
from toylab.sweep import sizes

POINTS, RUNS = 8, 32  # the most of made-up measures
LARGE = 2**28  # bytes of made-up measures from which on claims are not tried
MADE_UP = {"f": 0.5, "b": True, "i": 1, "u": 1}
Analyzed = tuple[dict[str, Any], dict[str, Any]]  # shapes at the last point, and at every one


def rehearse(part: Part, configs: Sequence[Config], saves: Sequence[int], changed: bool = True) -> None:
    """Tries the analyzers and claims of a part.

    Args:
        part: to try.
        configs: of its runs.
        saves: their saved steps.
        changed: whether configs were changed by options. If not, only the first family is tried.

    Raises:
        ValueError: where an analyzer does not fit a config, where a claim needs a measure that will not exist, or where one
            is omitted that would not.
    """
    families = cfg.one_of_each(configs)
    found = [_analyzed(part, config) for config in (families if changed else families[:1])]
    try:
        recorded = sizes.recorded(families[0], part.probes, part.keep)
    except Exception:  # its group will fail when it is trained, the others will not
        return
    some = [configs[int(i)] for i in np.unique(np.linspace(0, len(configs) - 1, RUNS).astype(int))]
    measures = Measures(part.kept(_measures(recorded, *found[0], some, saves)))
    if sum(value.size * value.dtype.itemsize for value in measures.values()) < LARGE:
        for claim in part.claims:
            _try(claim, measures)


def made_up(part: Part, configs: Sequence[Config], saves: Sequence[int]) -> Measures:
    """Measures of these runs with made-up values, in the shapes of the first.

    Args:
        part: whose analyses.
        configs: of its runs.
        saves: their saved steps, of which some are taken.

    Raises:
        ValueError: where an analyzer does not fit the first config.
    """
    recorded = sizes.recorded(configs[0], part.probes, part.keep)
    return Measures(part.kept(_measures(recorded, *_analyzed(part, configs[0]), configs, saves)))


def _try(claim: Claim, measures: Measures) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            claim.quantity(measures)
        except lab.NoMeasure as error:
            raise ValueError(f"the claim {claim.name!r}: {error.args[0]}.") from error
        except Exception:  # made-up numbers may lack what the claim is about
            return


def _analyzed(part: Part, config: Config) -> Analyzed:
    params = jax.eval_shape(config.net.init, jax.random.key(0))
    if part.keep is not None:
        params = {name: leaf for name, leaf in params.items() if name in part.keep}
        if not params and (part.final or part.analyses):
            raise ValueError(
                f"the page keeps {list(part.keep)} of the params, none of the net's: its analyses have none."
            )
    run = Run(config=config, data=jax.eval_shape(train.data, config))
    try:
        final = jax.eval_shape(composed(part.final), params, run) if part.final else {}
        own = jax.eval_shape(composed(part.analyses), params, run.replace(final=final)) if part.analyses else {}
    except Exception as error:
        raise ValueError(
            f"the page's analyses do not fit run {sweep.run_name(config)}: {lab.sentence(error)}."
        ) from error
    return final, own


def _measures(recorded: Any, final: Any, own: Any, configs: Sequence[Config], saves: Sequence[int]) -> Measures:
    """Measures of the configs with made-up values, in the shapes of the first config."""
    probes = {f"{name}/{key}": value for name, out in recorded.probes.items() for key, value in out.items()}
    of_points = {**recorded.measures, **probes}
    steps = np.array([*saves[: POINTS - 1], saves[-1]] if len(saves) > POINTS else list(saves))
    shape = len(configs), len(steps)
    made_up = {name: _filled((*shape, *value.shape[1:]), value.dtype) for name, value in of_points.items()}
    made_up |= {name: _filled((*shape, *value.shape), value.dtype) for name, value in own.items()}
    made_up |= {f"final/{name}": _filled((shape[0], *value.shape), value.dtype) for name, value in final.items()}
    later = cfg.set_later(configs)
    of_configs = cfg.columns([cfg.canonical(config, later) for config in configs])
    made_up |= {f"config/{name}": value for name, value in of_configs.items()}
    return Measures({"steps": steps, "valid": np.ones(shape, bool), **made_up})


def _filled(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of one repeated value, without memory for it."""
    return np.broadcast_to(np.array(MADE_UP.get(np.dtype(dtype).kind, 0)).astype(dtype), shape)
