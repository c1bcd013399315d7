from . import circles as circles
from . import delays as delays
from . import published as published
from . import rates as rates
from . import spectra as spectra
