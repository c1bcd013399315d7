"""Which command: `toylab run | fields | list | status | report | explore | export`, or run_sweep.py with a page."""

import difflib
import io
import os
import sys
from collections.abc import Callable

from toylab.cli.explore import explore
from toylab.cli.export import export
from toylab.cli.fields import fields
from toylab.cli.listing import listing
from toylab.cli.parser import Parser
from toylab.cli.report import report
from toylab.cli.run import run
from toylab.cli.status import status

HELP = """toylab: the training dynamics of toy models.

  toylab run PAGE        train, analyze and draw a page; `toylab run --help` has its options
  toylab fields PAGE     what can be set of a page's runs, with type, value, unit and meaning
  toylab list            the built-in pages by family, with what they cost and the verdicts of their claims
  toylab status FOLDER   how far a sweep is, and what to type to go on
  toylab report FOLDER   the judged claims of a page, or of all pages of a folder
  toylab explore FOLDER  a sweep in the browser, also while it trains
  toylab export FOLDER   the same as one HTML file"""


def _list(arguments: list[str], program: str) -> int:
    Parser(program, description="The built-in pages by family, with cost and claims.").parse_args(arguments)
    print(listing())
    return 0


COMMANDS: dict[str, Callable[[list[str], str], int]] = {
    "run": run,
    "fields": fields,
    "list": _list,
    "status": status,
    "report": report,
    "explore": explore,
    "export": export,
}


def main(arguments: list[str] | None = None, program: str = "toylab") -> int:
    """The command line; the exit status.

    Args:
        arguments: default: those of the process.
        program: what was typed before them, for messages that say what to type.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return _guarded(COMMANDS[arguments[0]], arguments[1:], f"{program} {arguments[0]}")
    if not arguments or arguments[0] in ("--help", "-h"):
        print(HELP)
        return 0
    if arguments == ["--version"]:
        import toylab

        print(f"toylab {toylab.__version__}")
        return 0
    near = difflib.get_close_matches(arguments[0], COMMANDS, 1)
    hint = (
        f"did you mean {program} {near[0]}?"
        if near
        else f"{program} run PAGE runs a page; {program} --help lists more."
    )
    print(f"{arguments[0]!r} is no command: {hint}", file=sys.stderr)
    return 2


def run_sweep(arguments: list[str] | None = None) -> int:
    """The command line of run_sweep.py: a page without the word `run` before it; the exit status."""
    arguments, program = sys.argv[1:] if arguments is None else arguments, "python run_sweep.py"
    if arguments and arguments[0] in COMMANDS:
        return main(arguments, program)
    return _guarded(run, arguments, program)


def _guarded(command: Callable[[list[str], str], int], arguments: list[str], program: str) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # λ and ≥ where the terminal's encoding lacks them
    try:
        return command(arguments, program)
    except OSError as error:  # of what is written or made beside the store
        print(error, file=sys.stderr)
        return 1


def leave(status: int) -> None:
    """Ends the process with an exit status."""
    if status == 130:  # threads of a compile that was cut short may crash while the interpreter ends
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def script() -> None:
    """The console command `toylab`."""
    leave(main())
