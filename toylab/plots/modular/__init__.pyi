from . import circles as circles, delays as delays, published as published, rates as rates, spectra as spectra
