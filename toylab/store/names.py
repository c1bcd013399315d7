"""Checks for names of folders that the system or Orbax cannot use, before anything is created."""

import os
from pathlib import Path

from toylab.store.errors import Refused

NAME, PATH = 255, 4096  # the most bytes of a name and of a path in Linux
BELOW = 250  # bytes that the names of a chunk's files add to the path of a sweep
CLOUDS = ("gs", "s3", "az", "hf")  # Orbax takes /gs/… for a place in a cloud


def check_name(folder: Path) -> None:
    """Checks the path of a folder. Orbax takes some characters for patterns, and some names for places in a cloud.

    Raises:
        Refused: where the folder cannot exist, or Orbax would not read what it has written there.
    """
    path = folder.absolute()
    if what := _wrong(path):
        shown = str(folder) if str(folder).isprintable() else ascii(str(folder))
        shown = shown if len(shown) <= 200 else f"{shown[:100]}…{shown[-50:]}"
        raise Refused(f"--out leads to {shown}, {what}.")


def _wrong(path: Path) -> str:
    if signs := sorted(set(str(path)) & set("[]\\")):
        return f"which has {signs[0]} in it: give a folder without [, ] and \\"
    if "\0" in str(path):
        return "which has a NUL in it: give a folder without"
    try:
        parts = [part.encode() for part in path.parts]
    except UnicodeEncodeError:
        return "whose name is no UTF-8: give one that is"
    if (longest := max(map(len, parts))) > NAME:
        return f"in which a name has {longest} bytes (File name too long): give one of {NAME} at most"
    if len(os.fsencode(path)) > PATH - BELOW:
        return f"a path of {len(os.fsencode(path))} bytes: give one of {PATH - BELOW} at most"
    if cloud := next((part for part in path.parts if part.endswith("gs:")), ""):
        return f"in which {cloud} is taken for a place in a cloud: give a folder of another name, on a file system"
    if len(parts) > 1 and path.parts[1] in CLOUDS:
        return f"and /{path.parts[1]} is taken for a place in a cloud: give a folder on a file system"
    return ""
