from . import (
    analyzing as analyzing,
    binding as binding,
    history as history,
    labelled as labelled,
    manifest as manifest,
    notes as notes,
    order as order,
    passes as passes,
    reader as reader,
    rebuilt as rebuilt,
    selection as selection,
    source as source,
    status as status,
    status_text as status_text,
    table as table,
)
from .reader import Sweep as Sweep, folders as folders, has_run as has_run, load as load, params_at as params_at
from .rebuilt import config_of as config_of
from .source import Group as Group
from .table import write_table as write_table
