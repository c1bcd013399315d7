"""Sequences for transformers of tokens: typed, or drawn from the task; and what a network does with one."""

import inspect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from toylab.analysis.attention import heads
from toylab.explore.declaring import Again, Control, Typed
from toylab.explore.moment import Moment
from toylab.tasks import GroupComposition, ModularArithmetic, Program, RepeatedBlocks, SkipTrigrams
from toylab.tasks.sequence import repeated

LONGEST = 64  # tokens of a sequence that is drawn
BLOCK = 8  # tokens of a block that is drawn and repeated


def fits_weights(moment: Moment) -> str | None:
    """As of `view`, for what reads the heads' weights alone."""
    if len(moment.shapes.get("W_Q", ())) == 4:
        return ""
    heads_known = hasattr(moment.net, "n_heads") or "net.n_heads" in moment.recording.columns
    return (moment.recording.no_params or "W_Q is not recorded.") if heads_known else None


def fits(moment: Moment) -> str | None:
    """As of `view`, for what runs a network on tokens."""
    why, net = fits_weights(moment), moment.net
    known = hasattr(net, "d_vocab") and hasattr(net, "n_ctx")
    if why is not None and net is not None and (getattr(net, "inputs", "tokens") != "tokens" or not known):
        return "the network reads vectors: only one that reads tokens can be given a sequence of them."
    if why != "":
        return why
    if net is None or moment.task is None:
        return f"the config of {moment.name} is not known, so that its network cannot be run."
    whole = moment.kept("names of params", lambda: sorted(jax.eval_shape(lambda: net.init(jax.random.key(0)))))
    if absent := [name for name in whole if name not in moment.shapes]:
        return f"{', '.join(absent)} is not recorded: the network cannot be run."
    absent = [name for name in ("pattern", "resid_pre", "resid_post") if name not in _outputs(moment)[1]]
    return f"the network's cache has no {', '.join(absent)}." if absent else ""


def n_vocab(moment: Moment) -> int:
    """How many tokens there are."""
    return moment.shapes["W_E"][0] if "W_E" in moment.shapes else int(moment.net.d_vocab)


def vocabulary(moment: Moment) -> list[str]:
    """The tokens' names: what the task calls them, else their numbers."""
    names, task = [str(i) for i in range(n_vocab(moment))], moment.task
    numbers = (
        task.p if isinstance(task, ModularArithmetic) else task.size if isinstance(task, GroupComposition) else None
    )
    if numbers is not None and numbers < len(names):
        names[numbers] = "="
    if (isinstance(task, RepeatedBlocks) and task.bos) or (isinstance(task, Program) and task.name != "frac_prevs"):
        names[task.d_vocab - 1] = "BOS"
    if isinstance(task, Program) and task.name == "reverse":
        names[task.d_vocab - 2] = "PAD"
    if isinstance(task, SkipTrigrams):
        kinds = {"A": task.n_sources, "B": task.n_destinations, "F": task.n_fillers}
        own = [f"{kind}{i}" for kind, count in kinds.items() for i in range(count)]
        names[: len(own)] = own
    return names


def controls(moment: Moment) -> dict[str, Control]:
    """A line for a sequence, and a button for another one."""
    names, (least, most) = vocabulary(moment), _lengths(moment)
    long = f"{most}" if least == most else f"{least} to {most}"
    label = f"{long} tokens of {names[0]} to {names[-1]} (empty: drawn)"
    return {"typed": Typed(label, ""), "again": Again("Another sequence")}


def sequence(moment: Moment, typed: str = "", again: int = 0) -> np.ndarray:
    """Tokens int [T]: those typed, by number or name with spaces or commas between; else drawn from the task, each `again`
    another one.

    Raises:
        ValueError: for what is no token, and for too many or too few.
    """
    if not typed.strip():
        return _drawn(moment, again)
    names, (least, most) = vocabulary(moment), _lengths(moment)
    by_name = {name: i for i, name in enumerate(names)}
    tokens = []
    for word in typed.replace(",", " ").split():
        number = by_name.get(word, int(word) if word.isascii() and word.isdigit() and len(word) < 10 else -1)
        if not 0 <= number < len(names):
            special = [name for i, name in enumerate(names) if name != str(i)]
            named = f", or {', '.join(special[:3])}{', …' if len(special) > 3 else ''}" if special else ""
            raise ValueError(f"{word[:20]!r} is no token: they are 0 to {len(names) - 1}{named}.")
        tokens.append(number)
    if not least <= len(tokens) <= most:
        wanted = f"{most}" if least == most else f"{least} to {most}"
        raise ValueError(f"{len(tokens)} tokens are {'too few' if len(tokens) < least else 'too many'}: give {wanted}.")
    return np.asarray(tokens, np.int32)


def shown(moment: Moment, tokens: np.ndarray) -> list[str]:
    """The names of a sequence's tokens."""
    names = vocabulary(moment)
    return [names[token] for token in tokens]


def run(moment: Moment, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What a network does with one sequence: patterns [L, H, T, T], and the loss of predicting each next token [T − 1] in
    nats, where the network predicts those.

    A causal network gets the sequence filled up to its longest, which changes nothing before, so that one program serves
    all lengths.
    """
    length = int(moment.net.n_ctx) if getattr(moment.net, "causal", False) else len(tokens)
    filled = np.zeros((1, length), np.int32)
    filled[0, : len(tokens)] = tokens
    loss, pattern = _run(moment.net, moment.params, filled, predicts(moment))
    T = len(tokens)
    return np.asarray(pattern)[:, 0, :, :T, :T], None if loss is None else np.asarray(loss)[0, : T - 1]


def predicts(moment: Moment) -> bool:
    """Whether logits at every position are of the next token."""
    if isinstance(moment.task, Program) and moment.task.name != "induction":
        return False
    shape = _outputs(moment)[0]
    return len(shape) == 3 and shape[2] >= n_vocab(moment) and not isinstance(moment.task, ModularArithmetic)


def _outputs(moment: Moment) -> tuple[tuple[int, ...], list[str]]:
    """The shape of the logits, [B, P, C] or [B, C], and what is in the cache."""
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in moment.shapes.items()}
    tokens = jax.ShapeDtypeStruct((1, int(moment.net.n_ctx)), jnp.int32)
    logits, cache = moment.kept("outputs", lambda: jax.eval_shape(moment.net.apply, params, tokens))
    return logits.shape, list(cache)


@partial(jax.jit, static_argnames="predicts")
def _run(net: Any, params: Any, tokens: Array, predicts: bool) -> tuple[Array | None, Array]:
    logits, cache = net.apply(params, tokens)
    loss = heads.per_token_loss(logits, tokens) if predicts else None
    return loss, cache["pattern"]


def _lengths(moment: Moment) -> tuple[int, int]:
    """The shortest and the longest sequence: that of the task alone, where the read-out is at its end."""
    most = int(moment.net.n_ctx)
    if len(_outputs(moment)[0]) == 2 or isinstance(moment.task, ModularArithmetic):
        most = min(len(_drawn(moment, 0)), most)
        return most, most
    return 2, most


def _drawn(moment: Moment, again: int) -> np.ndarray:
    return moment.kept(("sequence", again), lambda: _fresh(moment, again))


def _fresh(moment: Moment, again: int) -> np.ndarray:
    """Tokens int [T] of the task: a block twice where it repeats blocks, a fresh sequence where it draws them, else one of
    those that it has."""
    task, most = moment.task, int(moment.net.n_ctx)
    key = jax.random.fold_in(jax.random.key(0), again)
    if isinstance(task, RepeatedBlocks):
        period = max(1, min(task.n_ctx // 2, BLOCK))
        return np.asarray(repeated(key, 1, task.d_vocab, period, task.bos))[0, :most]
    found: Any = np.zeros(0)
    if _samples(task):
        found = task.sample(key, 1)
        found = found[0] if isinstance(found, tuple) else found
    elif isinstance(moment.data, dict) and np.ndim(moment.data.get("tokens", 0)) == 2:
        tokens = moment.data["tokens"]
        found = tokens[np.random.default_rng(again).integers(len(tokens))][None]
    if np.ndim(found) != 2 or not jnp.issubdtype(found.dtype, jnp.integer):
        found = jax.random.randint(key, (1, most), 0, n_vocab(moment))
    whole = len(_outputs(moment)[0]) == 2 or isinstance(task, Program)
    return np.asarray(found)[0, : most if whole else min(most, LONGEST)]


def _samples(task: Any) -> bool:
    """Whether `task.sample(key, n)` needs no more than these."""
    if not callable(getattr(task, "sample", None)):
        return False
    needed = [one for one in inspect.signature(task.sample).parameters.values() if one.default is one.empty]
    return len(needed) == 2
