"""Checks of foreign zip archives before anything is unpacked.

An archive has checksums of its members, but not of its directory, where one flipped bit can hide a member. Therefore the
number of listed members must be the one at the archive's end, and members must fill the file without gaps.
"""

import struct
import zipfile
from collections import Counter
from pathlib import Path

from toylab.importers.naming import Refusal, listed, printable
from toylab.importers.safetensors import MAX_BYTES

END, LOCAL = b"PK\x05\x06", b"PK\x03\x04"  # https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3
DESCRIPTORS = (12, 16, 20, 24)  # bytes that may follow a member whose size was not known in advance
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of numpy and torch; an lzma header may ask for 4 GB
FOLDER = 0x10  # an attribute of MS-DOS; torch's reader leaves the memory of such an array uninitialized
SPARE, RATIO = 64 << 20, 32  # limits of unpacked bytes: weights hardly shrink, but zeros and masks do


def checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members of an archive. Raises Refusal where names repeat, members are missing, or sizes are implausible."""
    entries = archive.infolist()
    if twice := [name for name, count in Counter(entry.filename for entry in entries).items() if count > 1]:
        raise Refusal(f"{path} has {listed(twice)} twice: each array must stand there once.")
    if (stated := _stated(path)) != len(entries):
        raise Refusal(f"{path} is damaged: its end says {stated:,} members, its directory lists {len(entries):,}.")
    if other := [entry.filename for entry in entries if entry.compress_type not in METHODS]:
        raise Refusal(f"{path} has {listed(other)} packed in another way than stored or deflated: it is not read.")
    if folders := [entry.filename for entry in entries if entry.external_attr & FOLDER and entry.file_size]:
        raise Refusal(f"{path} is damaged: {listed(folders)} is called a folder and has bytes.")
    total, most = sum(entry.file_size for entry in entries), min(MAX_BYTES, SPARE + RATIO * path.stat().st_size)
    if total > most:
        raise Refusal(f"{path} has {total:,} bytes of arrays: of a file of its size at most {most:,} are read.")
    _check_side_by_side(path, archive, entries)
    return entries


def _stated(path: Path) -> int:
    """The number of members in the record at the archive's end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 22 - 0xFFFF))  # a comment of any length may follow it
        tail = file.read()
    at = len(tail) - 22 if tail[-22:-18] == END and tail[-2:] == b"\0\0" else tail.rfind(END)
    return struct.unpack_from("<H", tail, at + 10)[0]


def _check_side_by_side(path: Path, archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    starts = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [entry.header_offset for entry in starts[1:]] + [archive.start_dir]
    if starts and starts[0].header_offset:
        raise Refusal(
            f"{path} is damaged: {starts[0].header_offset:,} bytes before its first member are listed nowhere."
        )
    with path.open("rb") as file:
        for entry, end in zip(starts, ends, strict=True):
            file.seek(entry.header_offset)
            header = file.read(30)
            n_name, n_extra = struct.unpack_from("<HH", header, 26)
            rest = end - (entry.header_offset + 30 + n_name + n_extra + entry.compress_size)
            if header[:4] != LOCAL or rest not in (DESCRIPTORS if entry.flag_bits & 8 else (0,)):
                raise Refusal(f"{path} is damaged: bytes after {printable(entry.filename)} are listed nowhere.")


def check_sums(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> None:
    """Raises zipfile's own error where a member does not fit its checksum. Torch may write no checksums, all 0."""
    if not any(entry.CRC for entry in entries):
        return
    for entry in entries:
        with archive.open(entry) as file:
            while file.read(1 << 20):
                pass
