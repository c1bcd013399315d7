"""What links the panels in the browser, and the files of the page that are no Python."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from bokeh.models import CustomJS
from jinja2 import Template

from toylab.explore.plots import colours

if TYPE_CHECKING:
    from toylab.explore.page.head import Head
    from toylab.explore.page.panels.curves import Curves
    from toylab.explore.page.panels.runs import Runs
    from toylab.explore.page.panels.sweep import Sweep

SCRIPTS = ("shared.js", "runs.js", "curves.js", "sweep.js", "start.js")


@cache
def asset(name: str) -> str:
    """The text of a file beside this module."""
    return files("toylab.explore.page").joinpath(name).read_text(encoding="utf-8")


def template() -> Template:
    """The page around the named roots, with its style and script."""
    return Template(
        asset("template.html").replace("/* style */", asset("style.css")).replace("/* script */", asset("script.js"))
    )


def linked(head: "Head", runs: "Runs", curves: "Curves", sweep: "Sweep") -> CustomJS:
    """The script that is to be run when the document is ready: from then on the panels follow each other in the browser."""
    plotted = curves.figure
    args = {
        "slider": head.slider, "play": head.play, "step_text": head.step, "speed": head.speed, "run_select": head.run,
        "runs": runs.source, "columns": runs.columns, "kept": runs.kept, "filter": runs.filter, "colour": runs.colour,
        "more": runs.more, "filter_note": runs.note, "count": runs.count, "runs_legend": runs.legend, "table": runs.table,
        "steps": curves.steps, "measures": curves.measures, "lines": curves.lines, "bands": curves.bands,
        "medians": curves.medians, "now": curves.now, "phases": curves.phases, "of_run": curves.of_run,
        "choice": curves.choice, "mode": curves.mode, "x_axis": curves.x, "y_axis": curves.y, "curves_note": curves.note,
        "figure": plotted, "drawn": curves.drawn, "band_drawn": curves.band_drawn, "median_drawn": curves.median_drawn,
        "legend": curves.legend, "scales": curves.scales, "linear_axes": curves.linear_axes, "log_axes": curves.log_axes,
        "grids": [plotted.xgrid[0], plotted.ygrid[0]],
        "across": sweep.x, "upwards": sweep.y, "value": sweep.value, "cells": sweep.cells, "threads": sweep.threads,
        "knots": sweep.knots, "ends": sweep.ends, "sweep_legend": sweep.legend, "plane": sweep.plane,
        "plane_title": sweep.plane.title, "plane_axes": [sweep.plane.xaxis[0], sweep.plane.yaxis[0]],
        "plane_ranges": [sweep.plane.x_range, sweep.plane.y_range], "parallel": sweep.parallel,
        "parallel_axes": [sweep.parallel.xaxis[0]], "parallel_ranges": [sweep.parallel.x_range],
        "parallel_grids": [sweep.parallel.xgrid[0]],
        "palettes": {"rising": colours.RISING, "hues": colours.CYCLIC, "okabe": list(colours.OKABE_ITO)},
        "version": curves.version,
    }  # fmt: skip
    return CustomJS(args=args, code="\n".join(asset(f"panels/{name}") for name in SCRIPTS))
