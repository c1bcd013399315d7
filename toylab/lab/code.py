"""What the results of a page's code depend on besides their inputs, as a digest: results that are kept are its own."""

import hashlib
import inspect
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax

from toylab import lab
from toylab.lab import pages

_BEGAN = time.time()


def digest(module: Any) -> str:
    """A digest of a module's code, of what it imports from where it lies, of toylab's, and of JAX. "" where that is not
    known: of a notebook, and where a file was written since this process began, as what is imported may be older."""
    files = [path for found in pages.sources(module).values() for path in found]
    own = getattr(module, "__file__", None)
    if own is None:
        return ""
    held = [path for path in dict.fromkeys([Path(own), *files]) if path.is_file()]
    if any(path.stat().st_mtime > _BEGAN for path in held):
        return ""
    return hashlib.sha256(repr((_of_toylab(), _contents(held))).encode()).hexdigest()


@cache
def _of_toylab() -> str:
    """Of toylab's own code and pages, and of the versions of what computes."""
    own = Path(inspect.getfile(lab)).parents[1]
    files = {*own.rglob("*.py"), *pages.built_in().values()}
    versions = jax.__version__, jax.default_backend()
    return hashlib.sha256(repr((versions, _contents(sorted(files)))).encode()).hexdigest()


def _contents(files: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
