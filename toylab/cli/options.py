"""The options of `toylab run`."""

import argparse
from collections.abc import Callable

from toylab.cli.parser import Once, Parser, path, text


def run_parser(program: str, ending: Callable[[], str]) -> Parser:
    """The parser of `run`.

    Args:
        program: what is typed before the page, as "toylab run".
        ending: gives the pages, for --help; reading them takes longer than all other options.
    """
    description = (
        "Train, analyze and draw a lab page. Stopped or killed, the same command goes on. Compiled programs are kept, as "
        "in ~/.cache/toylab; TOYLAB_CACHE=FOLDER in the environment names another folder, or off."
    )
    form = argparse.RawDescriptionHelpFormatter
    parser = Parser(program, description=description, ending=ending, formatter_class=form)
    parser.register("action", None, Once)  # of every option that says no other
    add = parser.add_argument
    add(
        "experiment",
        nargs="?",
        help="a page: the name of a built-in one, the path of a .py file, or a module as my_package.my_page",
    )
    add("--list", action="store_true", help="the built-in pages and what they show")
    add(
        "--set",
        action="extend",
        default=[],
        nargs="+",
        metavar="FIELD=A,B",
        help="set a field of the config; several values, or a range, make a grid: "
        "optimizer.weight_decay=0.3,1.0 task.n_train=500:2000:lin4 optimizer.lr=1e-4:1e-2:log5",
    )
    add(
        "--zip",
        action="append",
        default=[],
        nargs="+",
        metavar="FIELD=A,B",
        help="fields that go together, first values with first: net.d_model=64,128 net.d_mlp=256,512",
    )
    add("--seeds", type=int, metavar="N", help="seeds 0 to N−1")
    add("--sweep", type=path, metavar="FILE", help="a TOML file that describes the sweep (toylab/sweep/describe.py)")
    add(
        "--scale",
        choices=("smoke", "cpu", "paper"),
        help="default: cpu, or paper where there is an accelerator",
    )
    add(
        "--steps",
        type=int,
        metavar="N",
        help="train to step N, before or beyond the page's own end, and save a point there",
    )
    add(
        "--saves",
        metavar="N|STEPS",
        help="save N points, at first in constant ratio and then evenly, or those at the steps 0,100,1000; ranges with "
        "both ends: 0:1000:100 in equal steps, 0,1:10000:log40 in constant ratio. A sweep that exists gets those it lacks",
    )
    add("--part", action="extend", default=[], nargs="+", help="only these parts of a page that has several")
    add("--stage", choices=("train", "analyze", "draw"), help="only this stage (default: all three)")
    add("--out", type=path, help="default: results at paper scale, results/<scale> at the others")
    add("--dry-run", action="store_true", help="tell what would be trained, and what it takes, and stop there")
    add(
        "--device",
        type=text,
        metavar="NAME",
        help="with --dry-run: compile every program for a device that is not there, as h100, a100, v5e-4 or v4-8, and tell "
        "what the sweep takes on it; default scale: paper (extras aot-gpu, aot-tpu)",
    )
    add("--json", action="store_true", help="with --device: what it tells as JSON, and nothing else")
    add("--lane", type=int, metavar="W", help="runs in one vmap (default: chosen by a short measurement)")
    add("--group", type=int, metavar="N", help="runs in a group, which has a folder and a lock (default: 256)")
    add(
        "--tensorboard",
        action="store_true",
        help="also write event files to OUT/<experiment>/events (extra tensorboard)",
    )
    add(
        "--wandb",
        nargs="?",
        type=text,
        const="toylab",
        metavar="PROJECT",
        help="also log the measures to Weights & Biases, in this project (default: toylab; extra wandb)",
    )
    add(
        "--from",
        dest="start",
        type=text,
        metavar="RUN@STEP",
        help="start from the params of a run at a saved step; "
        "RUN is its name in this sweep's folder, or FOLDER/NAME for another's (results/cpu/grokking/1a2b@8000)",
    )
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--cluster",
        type=text,
        metavar="WHERE",
        help="train with Ray: local (this machine), auto (RAY_ADDRESS) or HOST:PORT",
    )
    add(
        "--join",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="one of (about) N processes with this same command: each takes groups that nobody has",
    )
    add(
        "--distributed",
        nargs="?",
        type=text,
        const="auto",
        metavar="HOST:PORT,N,I",
        help="one of N processes of jax.distributed; without a value as a TPU pod, Slurm or Open MPI says",
    )
    return parser  # fmt: skip


OF_TRAINING = {
    "steps": "--steps",
    "saves": "--saves",
    "start": "--from",
    "tensorboard": "--tensorboard",
    "wandb": "--wandb",
    "cluster": "--cluster",
    "dry_run": "--dry-run",
    "device": "--device",
}
LAUNCHERS = {"cluster": "--cluster", "join": "--join", "distributed": "--distributed"}


def check_heeded(options: argparse.Namespace) -> None:
    """ValueError for an option that the one stage asked for would not heed."""
    if options.stage not in (None, "train"):
        for name, option in OF_TRAINING.items():
            if getattr(options, name) not in (None, False):
                raise ValueError(f"{option} is for training: leave it out with --stage {options.stage}.")
    if options.json and not options.device:
        raise ValueError("--json is for --device: give --dry-run --device NAME, or leave it out.")
    if options.device and not options.dry_run:
        raise ValueError(
            f"--device is {options.device}: it compiles for that device and trains nothing; add --dry-run."
        )
    for name, option in LAUNCHERS.items():
        if options.device and getattr(options, name) is not None:
            raise ValueError(f"{option} is for training: leave it out with --device.")
