from . import (
    circles as circles,
    delays as delays,
    periodic as periodic,
    pruned as pruned,
    published as published,
    rates as rates,
    representations as representations,
    spectra as spectra,
)
