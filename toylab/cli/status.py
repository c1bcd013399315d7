"""`toylab status`: how far a sweep is, and what to type to go on."""

import sys

from toylab.cli.parser import Parser, path


def status(arguments: list[str], program: str) -> int:
    """0 where every group is finished, 3 where not, 2 where there is no sweep."""
    parser = Parser(program, description="How far a sweep is, and what to type to go on.")
    parser.add_argument("folder", type=path, help="a page's folder, as results/grokking")
    parser.add_argument("--verify", action="store_true", help="read every byte of the chunks that nobody is writing")
    options = parser.parse_args(arguments)
    from toylab import store
    from toylab.records import status

    try:
        found = status.status(options.folder, options.verify)
    except store.StoreError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, store.Refused) else 1
    print(status.as_text(found))
    return 0 if found.finished else 3
