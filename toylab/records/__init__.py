"""Reading what a sweep has written: manifests, saved points, tables.

reader    `load`, a sweep as arrays over all its runs · source  its groups · selection  by columns · order
analyzing analyzers over its runs and points
history   what a group saved, joined · passes  its trainings side by side · binding  what ties a chunk to its group
manifest  read and checked
table     the whole sweep as one table, runs.parquet · status, status_text  how far it is
rebuilt   a config from its manifest · notes  small files without a digest"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
