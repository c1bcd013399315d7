"""The table of skip-trigrams that heads raise most, as Elhage et al. 2021 print them, held against the law of the data."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toylab.plots import labels, style

TRUE, FALSE = style.SERIES[0], style.SERIES[1]


@style.house
def table(
    source: np.ndarray,
    destination: np.ndarray,
    output: np.ndarray,
    contribution: np.ndarray,
    law: np.ndarray,
) -> Figure:
    """A panel for each head, a bar for each of its strongest skip-trigrams, named "source … destination → output".

    Args:
        source, destination, output: Numbers [H, k] of A0, A1, …, of B0, B1, … and of C0, C1, …
        contribution: To the logit of the output, [H, k].
        law: Probability of the output in the data, [H, k].
    """
    n_heads, k = source.shape
    figure, axes = style.panels(style.PAGE, 0.85 + 0.16 * k, n_heads)
    for head, ax in enumerate(axes):
        ax.barh(range(k), contribution[head], color=np.where(law[head] > 0, TRUE, FALSE), height=0.75)
        triples = zip(source[head], destination[head], output[head], strict=True)
        ax.set_yticks(range(k), [f"A{a} … B{b} → C{c}" for a, b, c in triples])
        ax.set(ylim=(k - 0.4, -0.6), xlabel="adds to the logit")
        ax.set_title(f"head {head}", fontsize=8)
        ax.tick_params(axis="y", length=0)
    inks = {"in the data": TRUE, "not in the data: a bug, or outweighed by other heads": FALSE}
    handles = [Line2D([], [], color=ink, lw=4, label=name) for name, ink in inks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=labels.SMALL)
    return figure
