"""Whether the extra is there."""

from importlib.util import find_spec


def check() -> None:
    """Raises ValueError where Bokeh is not installed."""
    if find_spec("bokeh") is None:
        raise ValueError("The explorer needs its extra: pip install 'toylab[explore]'.")
