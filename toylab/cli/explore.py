"""`toylab explore`: a sweep in the browser."""

import sys
import threading
import webbrowser
from pathlib import Path
from typing import Any

from toylab.cli import compiled
from toylab.cli.parser import Once, Parser, path, text


def explore(arguments: list[str], program: str) -> int:
    """Serves a folder until Ctrl-C; 0, or 2 where there is nothing to be shown."""
    parser = Parser(
        program,
        description="Show a sweep in the browser, with a slider of the step and linked views; also while it trains. Ctrl-C "
        "ends it. Nothing is written but a cache, and nothing is fetched.",
    )
    parser.register("action", None, Once)
    add = parser.add_argument
    add("folder", type=path, help="a page's folder, as results/cpu/grokking, or a sweep's")
    add("--port", type=port, default=0, metavar="N", help="the port, or the next that is free (default: any)")
    add(
        "--host",
        type=text,
        default="127.0.0.1",
        metavar="ADDRESS",
        help="listen on this address, so that other machines can see the page who have the token that is printed (default: "
        "only this machine)",
    )
    add("--no-browser", action="store_true", help="open no browser")
    add_views(parser)
    options = parser.parse_args(arguments)
    from toylab import store

    try:
        server = _server(options)
    except (ValueError, store.StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    server.run(lambda: _tell(server, options))
    return 0


def port(value: str) -> int:
    """Type of --port."""
    number = int(value) if value.isdecimal() else 0
    if not 1 <= number <= 65535:
        raise ValueError
    return number


port.__name__ = "number from 1 to 65535"  # argparse says: invalid … value


def add_views(parser: Parser) -> None:
    """The options that say what is shown besides the lab's own views."""
    parser.add_argument(
        "--view",
        action="append",
        type=text,
        default=[],
        metavar="FILE.py|MODULE",
        help="also the views of this file or module (may be given again)",
    )
    parser.add_argument(
        "--analyzer",
        action="append",
        type=text,
        default=[],
        metavar="MODULE:FUNCTION",
        help="also what this analyzer gives, computed when it is asked for (may be given again)",
    )


def opened(options: Any) -> tuple[dict[str, Any], list[Any]]:
    """The recordings of the folder by part, and all views.

    Raises:
        ValueError, StoreError: where there is nothing to be shown.
    """
    from toylab.explore.serving import needed

    needed.check()
    compiled.keep()
    from toylab.explore import own
    from toylab.explore.recordings import opening
    from toylab.explore.views import built_in

    views = [*built_in(), *(one for name in options.view for one in own.views_of(name))]
    parts = dict(opening.open_folder(options.folder))
    own.with_analyzers(parts, options.analyzer)
    return parts, views


def _server(options: Any) -> Any:
    parts, views = opened(options)
    from toylab.explore.serving.server import Server

    return Server(parts, views, figures=options.folder / "figures", host=options.host, port=options.port)


def _tell(server: Any, options: Any) -> None:
    """One line with the address; a browser where there is one."""
    moved = f" (port {options.port} is in use)" if options.port not in (0, server.port) else ""
    opens = not options.no_browser and _has_browser()
    none = " No browser was found: open that address in one." if not opens and not options.no_browser else ""
    print(f"{shown(options.folder)} is at {server.url}{moved}; Ctrl-C ends it.{none}", flush=True)
    if opens:  # in a thread: it may wait for the browser
        threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()


def _has_browser() -> bool:
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    return not isinstance(found, webbrowser.GenericBrowser) or isinstance(found, webbrowser.BackgroundBrowser)


def shown(folder: Path) -> str:
    """A folder's name as it can be printed."""
    return str(folder) if str(folder).isprintable() else ascii(str(folder))
