"""Compiled programs, kept between processes: where a page was run before, its second start compiles nothing.

They lie in the folder of caches, as ~/.cache/toylab/compiled. In the environment TOYLAB_CACHE names another folder, or is
`off`, and TOYLAB_CACHE_MB is the most that they take (1,000). Where JAX_COMPILATION_CACHE_DIR is set, JAX keeps them there,
in its own way.

A program is found by JAX's key, of what is computed, options, versions and device, and by the processor. It is what was
compiled, so that bits are the same. It has a digest: what is damaged, or cannot be read or written, is compiled again.
"""

import contextlib
import hashlib
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from toylab import store
from toylab.store import caches, durable

MEGABYTES = "TOYLAB_CACHE_MB"  # in the environment
LIMIT = 1_000  # megabytes
SIZE = hashlib.sha256().digest_size
folder_in = partial(caches.folder, "compiled")  # of an environment
OWN = re.compile(r"[0-9a-f]{64}|\.[0-9a-f]{64}\.[0-9a-f]+")  # names of programs, and of what was being written


def keep() -> None:
    """Lets JAX take and keep compiled programs, unless the environment says otherwise.

    Raises:
        ValueError: where TOYLAB_CACHE_MB is no whole number of at least 1.
    """
    limit = _limit(os.environ)
    folder = folder_in(os.environ)
    import jax

    own = os.environ.get("JAX_COMPILATION_CACHE_DIR") or getattr(jax.config, "jax_compilation_cache_dir")
    if folder is None or own is not None:
        return
    with contextlib.suppress(OSError):
        _within(folder, limit)
    with contextlib.suppress(ImportError, AttributeError):  # a JAX that keeps programs in another way compiles them
        _install(Programs(folder))


def _limit(environment: Mapping[str, str]) -> int:
    """The most bytes that the folder may have."""
    text = environment.get(MEGABYTES) or str(LIMIT)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{MEGABYTES} is {text!r}: give a whole number of megabytes, at least 1, as {LIMIT}.")
    return int(text) * 1_000_000


def _within(folder: Path, limit: int) -> None:
    """Removes the programs that were not used for longest, until they have at most so many bytes. Other files stay."""
    with os.scandir(folder) as files:
        programs = [one for one in files if OWN.fullmatch(one.name) and one.is_file(follow_symlinks=False)]
        found = sorted((one.stat().st_mtime, one.stat().st_size, one.path) for one in programs)
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= limit:
            return
        with contextlib.suppress(OSError):  # another process removes it too
            os.unlink(path)
        total -= size


class Programs:
    """A folder of compiled programs, as JAX asks for them: `get` gives bytes or None, `put` takes them. The folder is made
    for the first. That it cannot be written to is told once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder  # JAX names it in its log
        self.machine = _machine()
        self.is_told = False

    def get(self, key: str) -> bytes | None:
        path = self._place(key)
        try:
            kept = path.read_bytes()
        except OSError:
            return None
        with contextlib.suppress(OSError):  # a folder that can only be read
            os.utime(path)
        program, digest = kept[:-SIZE], kept[-SIZE:]
        if hashlib.sha256(program).digest() == digest:
            return program
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        whole = value + hashlib.sha256(value).digest()
        try:
            if not self._path.is_dir():
                durable.make(self._path)
            durable.replace(self._place(key), lambda beside: beside.write_bytes(whole))
        except OSError as error:
            if not self.is_told:
                why = f"compiled programs are not kept ({store.first_line(error)})"
                print(f"{why}: {caches.VARIABLE} may name another folder, or be off.", file=sys.stderr, flush=True)
            self.is_told = True

    def _place(self, key: str) -> Path:
        return self._path / hashlib.sha256(f"{self.machine} {key}".encode()).hexdigest()


def _machine() -> str:
    """The processor and what it can do: a program that was compiled for another might not run here."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    kinds = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return " ".join([platform.machine(), platform.processor(), *sorted(kinds)])


def _install(programs: Programs) -> None:
    import jax
    from jax._src import compilation_cache  # JAX's own folder has no digests, and a limit needs one more package

    if not {"_cache", "_get_cache"} <= set(vars(compilation_cache)):
        raise AttributeError
    cache: Any = programs
    compilation_cache._cache = cache
    jax.config.update("jax_compilation_cache_dir", str(programs._path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
