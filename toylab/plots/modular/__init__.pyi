from . import (
    circles as circles,
    delays as delays,
    periodic as periodic,
    published as published,
    rates as rates,
    representations as representations,
    spectra as spectra,
)
