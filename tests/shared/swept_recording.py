"""A recording in memory of a sweep with hostile names, for tests of the explorer's page."""

import numpy as np

from toylab.explore import Bars, Choice, Dots, Heatmap, Moment, Typed, Whole, view

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'@x{} %"


class Swept:
    """Runs over a weight decay (4 values), a share (3 values with a hostile name), and a text; `n_steps` points.

    Args:
        n_runs, n_steps: how many.
        short: how many points the second run has.
    """

    def __init__(self, n_runs: int = 12, n_steps: int = 21, short: int | None = None) -> None:
        i = np.arange(n_runs)
        self.title, self.no_params = f"swept {EVIL}", ""
        self.runs = [EVIL if k == 1 else f"run{k}" for k in i]
        self.columns = {
            "optimizer.weight_decay": np.array([0.01, 0.1, 1.0, 3.0])[i % 4],
            f"task.share{EVIL}": np.array([0.2, 0.3, 0.4])[i // 4 % 3],
            "task.op": np.array(["add", EVIL])[i % 2],
            "seed": i,
            "optimizer.lr": np.full(n_runs, 1e-3),
        }
        self.varying = [name for name in self.columns if name != "optimizer.lr"]
        self.claims = [
            {"name": EVIL, "verdict": "agrees", "reason": EVIL, "rule": EVIL, "source": {"paper": EVIL, "says": EVIL}},
            {"name": "circles close", "verdict": "differs", "source": None},
        ]
        self.figures = {"Learning curves": "learning.png", f"circles {EVIL}": "circles.png"}
        self.messages, self.final, self.on_demand = [f"a chunk is damaged: {EVIL}."], {}, None
        self.shapes = [{"W": (5, 4)}] * n_runs
        self.damaged: set[int] = set()
        self.short = short
        self.scalars = ["train_loss", "test_loss", EVIL]
        self.to(n_steps)

    def to(self, n_steps: int) -> None:
        n_runs = len(self.runs)
        self.steps = np.r_[0, np.geomspace(1, 1000, n_steps - 1).round().astype(int) + np.arange(n_steps - 1)]
        self.valid = np.ones((n_runs, n_steps), bool)
        if self.short is not None:
            self.valid[1, self.short :] = False
        fall = np.exp(-self.steps / 300)[None] * (1 + np.arange(n_runs))[:, None]
        losses = {"train_loss": fall, "test_loss": 2 * fall, EVIL: np.ones_like(fall)}
        self.measures = {name: np.where(self.valid, values, np.nan) for name, values in losses.items()}
        self.measures["spectrum"] = np.ones((*fall.shape, 3))

    def config(self, run):
        return None

    def data(self, run):
        return {}

    def params(self, run, at):
        if at in self.damaged or not self.valid[run, at]:
            raise LookupError(f"the chunk of step {self.steps[at]} is damaged.")
        return {"W": self.expected(run, at)}

    def expected(self, run, at):
        return ((1 + run) * (np.arange(20.0).reshape(5, 4) - 9) * (1 + at)).astype(np.float32)

    def refresh(self) -> bool:
        return False

    def phases(self, run):
        return [("memorisation", 0.0, 10.0 + run), (EVIL, 10.0 + run, 100.0)]


@view("matrix", family="small", title=f"The matrix {EVIL}", needs=("W",))
def matrix(moment: Moment):
    return [Heatmap(moment.params["W"], f"W at step {moment.step}", x="column", y="row")]


@view(
    "row",
    family="small",
    title="A row",
    needs=("W",),
    controls=lambda moment: {"row": Whole(f"row {EVIL}", 0, 4, 1), "sign": Choice("sign", ["+", EVIL], "+")},
)
def row(moment: Moment, row: int = 1, sign: str = "+"):
    return Bars((1 if sign == "+" else -1) * moment.params["W"][row], f"row {row}")


@view("typed", family="others", title="Typed", controls=lambda moment: {"text": Typed("numbers", "1 2")})
def typed(moment: Moment, text: str = "1 2"):
    try:
        numbers = np.array([float(one) for one in text.split()])
    except ValueError:
        raise ValueError(f"numbers is {text!r}: numbers with spaces between are wanted.") from None
    return Dots(numbers, numbers, "typed")


@view("absent", family="others", title="Absent", needs=("W_U",))
def absent(moment: Moment):
    raise AssertionError("never drawn")


@view("broken", family="others", title="Broken")
def broken(moment: Moment):
    return 1 / 0


@view("unexpected", family="never", title="Unexpected", fits=lambda moment: None)
def unexpected(moment: Moment):
    raise AssertionError("never drawn")


VIEWS = [matrix, row, typed, absent, broken, unexpected]
