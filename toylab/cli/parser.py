"""Options by their whole names; what is wrong is one sentence, and exit status 2."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Options by their whole names. What is wrong is one sentence, and exit status 2."""

    def __init__(self, *arguments: Any, ending: Callable[[], str] | None = None, **options: Any) -> None:
        """`ending` makes the epilog, and is called for --help alone."""
        super().__init__(*arguments, **{**options, "allow_abbrev": False})
        self.ending = ending

    def format_help(self) -> str:
        self.epilog = self.ending() if self.ending else self.epilog
        return super().format_help()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            name = rest[0].partition("=")[0]
            if not name.startswith("-"):
                self.error(f"{name!r} is one word too many")
            known = [option for action in self._actions for option in action.option_strings]
            near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
            self.error(f"{name} is no option: {f'did you mean {near[0]}?' if near else '--help lists them.'}")
        return options

    def error(self, message: str) -> NoReturn:
        said = message.removeprefix("argument ")
        print(said if said.endswith(("?", ".")) else f"{said}.", file=sys.stderr)
        sys.exit(2)


class Once(argparse.Action):
    """An option with one value: given again it would silently replace the first."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            parser.error(f"{option_string} is given twice: give it once.")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def text(value: str) -> str:
    """Type of an option whose value must not be empty."""
    if not value.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return value


def path(value: str) -> Path:
    """Type of an option that names a file or folder."""
    return Path(os.path.expanduser(text(value)))  # a shell leaves the ~ of --out=~/x
