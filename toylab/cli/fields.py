"""`toylab fields`: what can be set of a page's runs."""

import json
import sys

from toylab.cli.parser import Parser, text


def fields(arguments: list[str], program: str) -> int:
    """Prints the fields of a page's configs; 0, or 2 where there is no such page or part."""
    parser = Parser(
        program,
        description="What can be set of a page's runs (--set, --zip, a TOML file, a grid in Python), with its type, the "
        "values of the page's own runs, whether another value compiles anew, its unit and meaning.",
    )
    parser.add_argument("page", type=text, help="as of `run`: a name, a .py file, or a module")
    parser.add_argument("--part", action="extend", default=[], nargs="+", help="only these parts of a page")
    parser.add_argument("--scale", choices=("smoke", "cpu", "paper"), help="whose runs (default: as `run` takes)")
    parser.add_argument("--json", action="store_true", help="as JSON, by part")
    options = parser.parse_args(arguments)
    from toylab.lab import job, name_of, pages, settable, stated

    try:
        page = pages.load(options.page)
        scale = job.scale_of(options.scale)
        stated.check(page, scale)
        parts = settable.of_page(page, scale, job.chosen_parts(page, options.part))
    except (pages.Raised, ValueError) as error:
        print(f"{getattr(error, 'trace', '')}{error}", file=sys.stderr)
        return 2
    if options.json:
        record = {"page": name_of(page), "scale": scale, "parts": {k: settable.records(v) for k, v in parts.items()}}
        print(json.dumps(record, indent=1, ensure_ascii=False))
        return 0
    alike: dict[str, list[str]] = {}
    for name, settings in parts.items():
        alike.setdefault(settable.table(settings), []).append(name)
    for shown, names in alike.items():
        of = f", {'part' if len(names) == 1 else 'parts'} {', '.join(names)}" if names != [""] else ""
        print(f"{name_of(page)}{of}, at scale {scale}:\n\n{shown}\n")
    print("Set with --set FIELD=A,B; fields that go together with --zip. A class keeps the fields that both have.")
    return 0
