"""The only code that reads and writes disk: chunks of saved points (Orbax), manifests, locks, tables (parquet), npz.

chunk     a chunk read and checked · writing  a chunk committed, in the background · orbax  how Orbax is called
durable   writes that survive a power cut · files  JSON, npz and text · tables  parquet
locks     who holds a folder · names  names that a folder cannot have · errors  what can go wrong
caches    where this machine keeps what can be made again

Nothing is ever unpickled.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
