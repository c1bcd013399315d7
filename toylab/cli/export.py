"""`toylab export`: a sweep as one HTML file."""

import sys
from typing import Any

from toylab.cli.explore import add_views, opened, shown
from toylab.cli.parser import Once, Parser, path, text


def export(arguments: list[str], program: str) -> int:
    """Writes the file; 0, or 2 where there is nothing to be shown."""
    parser = Parser(
        program,
        description="Write what `toylab explore` shows as one HTML file that works without a server and without a network.",
    )
    parser.register("action", None, Once)
    add = parser.add_argument
    add("folder", type=path, help="a page's folder, as results/cpu/grokking, or a sweep's")
    add("--out", type=path, required=True, metavar="FILE.html", help="the file")
    add(
        "--points",
        type=int,
        default=40,
        metavar="N",
        help="saved points whose views are in it, evenly by number, the first and last among them (40)",
    )
    add("--views", type=text, metavar="A,B", help="only these views (default: all that fit)")
    add(
        "--runs",
        type=text,
        metavar="A,B",
        help="runs whose views are in it, by name or its beginning (default: the first)",
    )
    add("--part", type=text, metavar="NAME", help="the part of a page that has several (default: the first)")
    add_views(parser)
    options = parser.parse_args(arguments)
    from toylab import store

    try:
        size = _write(options)
    except (ValueError, store.StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: nothing is written.", file=sys.stderr)
        return 130
    print(f"{shown(options.out)}: {store.size(size)}")
    return 0


def _write(options: Any) -> int:
    if options.points < 1:
        raise ValueError(f"--points is {options.points}: it must be at least 1.")
    if options.out.suffix not in (".html", ".htm"):
        raise ValueError(f"--out is {shown(options.out)}: give a file as page.html.")
    if not options.out.absolute().parent.is_dir():
        raise ValueError(
            f"--out is {shown(options.out)}: there is no folder {shown(options.out.parent)}; make it first."
        )
    if options.out.is_dir():
        raise ValueError(f"--out is {shown(options.out)}, a folder: give a file in it, as page.html.")
    parts, views = opened(options)
    from toylab import store
    from toylab.explore import own
    from toylab.explore.exporting import export

    names = [name.strip() for name in options.views.split(",")] if options.views else []
    recording = _part(parts, options.part)
    runs = [_run(recording, name.strip()) for name in options.runs.split(",")] if options.runs else None
    chosen = own.chosen(views, names)
    if names:
        own.refuse_absent(chosen, recording, runs or [0])
    size = export.write(options.out, recording, chosen, points=options.points, runs=runs, report=print)
    if size > export.LARGE:
        print(
            f"it has {store.size(size)}, more than {store.size(export.LARGE)}: fewer --points, --views or --runs make it "
            "smaller.",
            file=sys.stderr,
        )
    return size


def _part(parts: dict[str, Any], name: str | None) -> Any:
    if name is not None and name not in parts:
        there = f"there are {', '.join(parts)}" if list(parts) != [""] else "this page has no parts: leave it out"
        raise ValueError(f"--part is {name}: {there}.")
    return parts[next(iter(parts)) if name is None else name]


def _run(recording: Any, name: str) -> int:
    """The number of the run whose name is, or begins with, `name`."""
    names = [str(one) for one in recording.runs]
    found = [i for i, one in enumerate(names) if one == name] or [
        i for i, one in enumerate(names) if one.startswith(name)
    ]
    if len(found) != 1:
        few = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        said = "is the beginning of several runs" if found else "is no run"
        raise ValueError(f"--runs has {name!r}, which {said}: there are {few}.")
    return found[0]
