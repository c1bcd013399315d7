"""Where this machine keeps what can be made again: compiled programs, and what compilers said of devices."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TOYLAB_CACHE"  # in the environment: another folder, or off


def folder(name: str, environment: Mapping[str, str]) -> Path | None:
    """The folder of what is kept under a name; None where nothing shall be kept, or no folder of a user is known.

    Args:
        name: of what is kept, as in ~/.cache/toylab/NAME. A folder that TOYLAB_CACHE names holds all of it side by side.
        environment: the environment variables.
    """
    if named := environment.get(VARIABLE):
        return None if named.lower() == "off" else Path(os.path.expanduser(named)).absolute()
    if (given := Path(environment.get("XDG_CACHE_HOME", ""))).is_absolute():
        return given / "toylab" / name
    try:
        home = Path.home()
    except RuntimeError:
        return None
    own = {"darwin": home / "Library" / "Caches", "win32": Path(environment.get("LOCALAPPDATA", home / ".cache"))}
    return own.get(sys.platform, home / ".cache") / "toylab" / name
