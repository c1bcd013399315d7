from . import (
    head as head,
    linking as linking,
    moments as moments,
    page as page,
    panels as panels,
    turns as turns,
)
