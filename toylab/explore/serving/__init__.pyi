from . import (
    figures as figures,
    guard as guard,
    needed as needed,
    server as server,
)
