"""The only code that touches disk: chunks of saved points (Orbax), manifests, locks, tables (parquet), measures (npz).
Nothing is ever unpickled."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
