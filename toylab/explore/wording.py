"""Words for what goes wrong."""


def sentence(error: object) -> str:
    """An error's message with a full stop; of a KeyError without the quotes that Python puts around it."""
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f"{str(said).strip().removesuffix('.') or type(error).__name__}."
