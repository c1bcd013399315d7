from . import (
    caches as caches,
    chunk as chunk,
    durable as durable,
    errors as errors,
    files as files,
    locks as locks,
    names as names,
    orbax as orbax,
    tables as tables,
    writing as writing,
)
from .chunk import (
    SCHEMA as SCHEMA,
    STATE as STATE,
    chunks as chunks,
    has_state as has_state,
    read_chunk as read_chunk,
    read_info as read_info,
    spare_damage as spare_damage,
)
from .errors import (
    Damaged as Damaged,
    Gone as Gone,
    InUse as InUse,
    Lost as Lost,
    Refused as Refused,
    StoreError as StoreError,
    first_line as first_line,
    newer as newer,
    remedy as remedy,
    size as size,
)
from .files import (
    Arrays as Arrays,
    NAMES as NAMES,
    read_arrays as read_arrays,
    read_json as read_json,
    write_arrays as write_arrays,
    write_json as write_json,
    write_text as write_text,
)
from .locks import (
    check_folder as check_folder,
    is_locked as is_locked,
    locked as locked,
    make_folder as make_folder,
    owner as owner,
)
from .names import check_name as check_name
from .orbax import keep_to_this_process as keep_to_this_process
from .tables import Column as Column, Repeated as Repeated, Stretches as Stretches, write_table as write_table
from .writing import (
    AROUND as AROUND,
    EVERY as EVERY,
    NEWEST as NEWEST,
    Writer as Writer,
    broken as broken,
    clear as clear,
    newest_sound_chunk as newest_sound_chunk,
    set_aside as set_aside,
    write_chunk as write_chunk,
)
