"""`toylab status`: how far sweeps are, and what to type to go on."""

import sys
from pathlib import Path

from toylab.cli.parser import Parser, path


def status(arguments: list[str], program: str) -> int:
    """0 where every group is finished, 3 where not, 2 where there is no sweep; of several sweeps the worst of these."""
    parser = Parser(program, description="How far a sweep is, and what to type to go on; of several a line each.")
    parser.add_argument("folders", nargs="+", metavar="folder", type=path, help="a page's folder, as results/grokking")
    parser.add_argument("--verify", action="store_true", help="read every byte of the chunks that nobody is writing")
    options = parser.parse_args(arguments)
    found = [_of(folder, options.verify, len(options.folders) > 1) for folder in options.folders]
    return next((code for code in (1, 2, 3) if code in found), 0)


def _of(folder: Path, verify: bool, in_a_line: bool) -> int:
    from toylab import store
    from toylab.records import status, status_text

    try:
        found = status.status(folder, verify)
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, store.Refused) else 1
    print(f"{folder}: {status_text.totals(found)}" if in_a_line else status_text.as_text(found))
    return 0 if found.finished else 3
