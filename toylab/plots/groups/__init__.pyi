from . import irreps as irreps
