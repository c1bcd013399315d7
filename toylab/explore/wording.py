"""Words for what goes wrong."""


def sentence(error: object) -> str:
    """An error's message with a full stop."""
    return f"{str(error).strip().removesuffix('.')}."
