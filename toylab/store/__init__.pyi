from . import (
    chunk as chunk,
)
from . import (
    durable as durable,
)
from . import (
    errors as errors,
)
from . import (
    files as files,
)
from . import (
    locks as locks,
)
from . import (
    names as names,
)
from . import (
    orbax as orbax,
)
from . import (
    tables as tables,
)
from . import (
    writing as writing,
)
from .chunk import (
    SCHEMA as SCHEMA,
)
from .chunk import (
    chunks as chunks,
)
from .chunk import (
    has_state as has_state,
)
from .chunk import (
    read_chunk as read_chunk,
)
from .chunk import (
    read_info as read_info,
)
from .chunk import (
    spare_damage as spare_damage,
)
from .errors import (
    Damaged as Damaged,
)
from .errors import (
    Gone as Gone,
)
from .errors import (
    InUse as InUse,
)
from .errors import (
    Lost as Lost,
)
from .errors import (
    Refused as Refused,
)
from .errors import (
    StoreError as StoreError,
)
from .errors import (
    first_line as first_line,
)
from .errors import (
    newer as newer,
)
from .errors import (
    remedy as remedy,
)
from .errors import (
    size as size,
)
from .files import (
    NAMES as NAMES,
)
from .files import (
    Arrays as Arrays,
)
from .files import (
    read_arrays as read_arrays,
)
from .files import (
    read_json as read_json,
)
from .files import (
    write_arrays as write_arrays,
)
from .files import (
    write_json as write_json,
)
from .files import (
    write_text as write_text,
)
from .locks import (
    check_folder as check_folder,
)
from .locks import (
    is_locked as is_locked,
)
from .locks import (
    locked as locked,
)
from .locks import (
    make_folder as make_folder,
)
from .locks import (
    owner as owner,
)
from .names import check_name as check_name
from .orbax import keep_to_this_process as keep_to_this_process
from .tables import Column as Column
from .tables import Repeated as Repeated
from .tables import Stretches as Stretches
from .tables import write_table as write_table
from .writing import (
    AROUND as AROUND,
)
from .writing import (
    EVERY as EVERY,
)
from .writing import (
    NEWEST as NEWEST,
)
from .writing import (
    Writer as Writer,
)
from .writing import (
    broken as broken,
)
from .writing import (
    clear as clear,
)
from .writing import (
    newest_sound_chunk as newest_sound_chunk,
)
from .writing import (
    write_chunk as write_chunk,
)
