"""A recording in memory, for tests of what serves and exports it: two runs of a 5 × 4 matrix that grows with the step."""

import numpy as np

from toylab.explore import Bars, Heatmap, Moment, view


class Small:
    """Two runs with `n_steps` points; `grow` adds points, which `refresh` finds."""

    def __init__(self, n_steps: int = 6, title: str = "small") -> None:
        self.title, self.runs, self.no_params = title, ["first", "second"], ""
        self.columns = {"seed": np.array([0, 1]), "task.name": np.array(["<script>alert(1)</script>", '"quoted"'])}
        self.claims, self.figures, self.messages = [], {}, []
        self.final, self.varying, self.scalars, self.on_demand = {}, ["seed", "task.name"], ["loss"], None
        self.shapes = [{"W": (5, 4)}] * 2
        self.waiting = 0
        self._to(n_steps)

    def _to(self, n_steps: int) -> None:
        self.steps = 10 * np.arange(n_steps)
        self.valid = np.ones((2, n_steps), bool)
        self.measures = {"loss": np.exp(-0.1 * self.steps)[None] * np.array([[1.0], [2.0]])}

    def config(self, run):
        return None

    def data(self, run):
        return {}

    def params(self, run, at):
        return {"W": self.expected(run, at)}

    def expected(self, run, at):
        return ((1 + run) * (np.arange(20.0).reshape(5, 4) - 9) * (1 + at)).astype(np.float32)

    def grow(self, n: int) -> None:
        self.waiting += n

    def refresh(self) -> bool:
        new, self.waiting = self.waiting, 0
        if new:
            self._to(len(self.steps) + new)
        return bool(new)

    def phases(self, run):
        return []


@view("matrix", family="small", title="The matrix", needs=("W",))
def matrix(moment: Moment):
    values = moment.params["W"]
    heights = np.abs(values).max(axis=1)
    return [
        Heatmap(values, f"W at step {moment.step}", x="column", y="row", limit=200.0),
        Bars(heights, "Greatest of a row", x="row", limit=200.0),
    ]
