"""JSON that strangers wrote: a mapping whose keys stand there once."""

import json
from collections import Counter
from typing import Any

from toylab.importers.naming import Refusal, listed


def parsed(text: str | bytes, where: str, broken: str) -> dict[str, Any]:
    """The mapping of a JSON text. `broken`: the sentence about a text that is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
            raise Refusal(f"{where} has {listed(twice)} twice: each key must stand there once.")
        return found

    try:
        found = json.loads(text, object_pairs_hook=once)
    except Refusal:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise Refusal(broken) from error
    if not isinstance(found, dict):
        raise Refusal(f"{where} holds a {type(found).__name__}: it must hold a mapping.")
    return found
