"""Tiny sweeps, their records as bytes, and what lies in their folders."""

from toylab import configs as cfg
from toylab import sweep
from toylab.base import Config
from toylab.models import ModularMLP, Net
from toylab.optim import AdamW
from toylab.sweep import Plan, Spec
from toylab.tasks import ModularArithmetic

SAVES = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


def tiny(seed=0, lr=3e-3, d_model=8, data_seed=0):
    net = Net.of(ModularMLP, d_vocab=11, d_vocab_out=11, d_model=d_model, d_mlp=16)
    task = ModularArithmetic(p=11, n_train=60)
    return cfg.check(Config(task, net, AdamW(lr=lr, weight_decay=0.1), seed=seed, data_seed=data_seed))


A, B, C, D, E = tiny(0), tiny(1, lr=1e-2), tiny(2, lr=3e-2), tiny(3), tiny(4, lr=1e-3)
PAIRS = Plan(lane=2, segment=2, chunk=4)


def never(measures):
    return False


def trained(folder, configs, plan=PAIRS, saves=SAVES, **spec):
    sweep.run(configs, Spec(saves=saves, **spec), folder, plan=plan)
    return only(folder)


def only(folder):
    (group,) = sweep.load(folder)
    return group


def bits(group, run, until=None):
    """Everything recorded of one run, as bytes: of its valid points, or of those up to step `until`."""
    points = group.valid[run] & (group.steps <= (until or group.steps[-1]))
    arrays = {**group.params, **group.measures, **group.probes}
    return {"steps": group.steps[points].tolist(), **{name: v[run, points].tobytes() for name, v in arrays.items()}}


def contents(folder):
    """Every file but the lock and its owner, with what it holds and when it was written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "owner.json")]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def squares(params, run):
    return {"sum": (params["W_E"] ** 2).sum(), "rows": (params["W_U"] ** 2).sum(0), "big": params["W_U"].max(0) > 0.3}
