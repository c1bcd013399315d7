from . import (
    charts as charts,
    colours as colours,
    drawing as drawing,
    frames as frames,
    kinds as kinds,
    limits as limits,
    planes as planes,
)
