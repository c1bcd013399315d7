"""The only code that touches disk: chunks of saved points (Orbax), manifests, locks, tables (parquet), measures (npz).
Nothing is ever unpickled."""

from toylab.store.chunk import SCHEMA, chunks, has_state, read_chunk, read_info, spare_damage
from toylab.store.errors import Damaged, Gone, InUse, Lost, Refused, StoreError, first_line, newer, remedy, size
from toylab.store.files import (
    NAMES,
    Arrays,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_text,
)
from toylab.store.locks import check_folder, is_locked, locked, make_folder, owner
from toylab.store.names import check_name
from toylab.store.orbax import keep_to_this_process
from toylab.store.tables import Column, Repeated, Stretches, write_table
from toylab.store.writing import AROUND, EVERY, NEWEST, Writer, broken, clear, newest_sound_chunk, write_chunk

__all__ = [
    "AROUND", "EVERY", "NAMES", "NEWEST", "SCHEMA", "Arrays", "Column", "Damaged", "Gone", "InUse", "Lost", "Refused",
    "Repeated", "StoreError", "Stretches", "Writer", "broken", "check_folder", "check_name", "chunks", "clear",
    "first_line", "has_state", "is_locked", "keep_to_this_process", "locked", "make_folder", "newer",
    "newest_sound_chunk", "owner", "read_arrays", "read_chunk", "read_info", "read_json", "remedy", "size",
    "spare_damage", "write_arrays", "write_chunk", "write_json", "write_table", "write_text",
]  # fmt: skip
