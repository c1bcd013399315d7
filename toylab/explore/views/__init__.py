"""The views that the lab has, by family. Those of a user are added by `--view`."""

from toylab.explore.declaring import View


def built_in() -> list[View]:
    """All views of the lab, in the order of their tabs."""
    from toylab.explore.views import attention, beliefs, grokking, planes, progress, superposition, weights

    modules = (grokking, planes, progress, superposition, attention, beliefs, weights)
    return [one for module in modules for one in vars(module).values() if isinstance(one, View)]
