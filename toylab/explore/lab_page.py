"""A page's folder beside its runs: what was run, claims, figures, and the page itself, whose analyses it can compute."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from toylab import lab, store
from toylab.base import Analyzer
from toylab.explore.archive import signature
from toylab.explore.wording import sentence
from toylab.lab import pages
from toylab.records import manifest, notes

PICTURES = (".png", ".gif")


class LabPage:
    """What a folder says of the page that it is of. Nothing raises: `messages` has what cannot be read.

    Only pages of toylab are imported because a folder names them. A user's own is known where it is imported already, or
    given.
    """

    def __init__(self, folder: Path, given: str | ModuleType | None = None) -> None:
        """
        Args:
            folder: of the page.
            given: the page: its module, or as `toylab.lab.pages.find` takes it.
        """
        self.folder, self._given = folder, given
        self.messages: dict[str, None] = {}
        self._module: ModuleType | bool | None = False
        self._seen: Any = None
        self.opened: set[str] = set()
        self.version = 0
        self.look()

    def look(self) -> int:
        """Reads manifest.json, claims.json and the names of the figures where they changed; a number that then grows."""
        seen = [signature(self.folder / name) for name in ("manifest.json", "claims.json", "figures")]
        if seen != self._seen:
            self._seen = seen
            self.version += 1
            self._read()
        return self.version

    def _read(self) -> None:
        self.messages.clear()
        self.record: dict[str, Any] = self._tried(notes.page_record, self.folder) or {}
        stated = (self._tried(store.read_json, path) or {}) if (path := self.folder / "claims.json").exists() else {}
        claims = stated.get("claims", [])
        fits = isinstance(claims, list) and all(isinstance(one, dict) and "name" in one for one in claims)
        if not fits:
            self.messages[f"{path} is damaged: its claims are none."] = None
        self._claims: list[dict[str, Any]] = claims if fits else []
        folder = self.folder / "figures"
        files = sorted(os.listdir(folder)) if folder.is_dir() else []
        self._figures = {Path(name).stem: name for name in files if Path(name).suffix in PICTURES}

    def _tried(self, read: Any, path: Path) -> Any:
        try:
            return read(path)
        except store.StoreError as error:
            self.messages[sentence(error)] = None
            return None

    @property
    def begun(self) -> list[str]:
        """Sentences on parts whose training has begun since the folder was opened."""
        found = [path.parent.name for path in sorted((self.folder / "runs").glob(f"*/{manifest.SWEEP}"))]
        return [
            f"The part {name} has begun: open the folder again to see it." for name in found if name not in self.opened
        ]

    @property
    def name(self) -> str:
        """The page's name; that of the folder where it does not say."""
        experiment = self.record.get("experiment")
        return experiment if isinstance(experiment, str) and experiment else self.folder.resolve().name

    def records(self) -> dict[str, dict[str, Any]]:
        """What was run, by part; {} where there is no manifest."""
        return dict(self.record.get("parts", {"": self.record} if self.record else {}))

    @property
    def module(self) -> ModuleType | None:
        """The page, imported when it is first asked for; None where it is not known."""
        if isinstance(self._module, bool):
            self._module = None  # a page that raises is asked for once
            self._module = self._imported()
        return self._module

    def _imported(self) -> ModuleType | None:
        if isinstance(self._given, ModuleType):
            return self._given
        known = pages.built_in()
        named = (
            self._given or self.record.get("page") or (pages.own_name(known[self.name]) if self.name in known else "")
        )
        if not named or not isinstance(named, str):
            return None
        if named in sys.modules:
            return sys.modules[named]
        if not self._given and not named.startswith(f"{pages.PACKAGE}."):
            self.messages[f"The page {named} is not one of toylab: give its file, and its analyses are known."] = None
            return None
        try:
            return pages.load(named)
        except Exception as error:  # a page is code, which may raise anything
            self.messages[f"The page {named} is not known here: {sentence(store.first_line(error))}"] = None
            return None

    def parts(self) -> dict[str, lab.Part]:
        """The parts that the page states; {} where it is not known."""
        if self.module is None:
            return {}
        try:
            return lab.parts(self.module)
        except Exception as error:  # a module that is no page
            self.messages[f"{self.module.__name__} is no page: {sentence(store.first_line(error))}"] = None
            return {}

    def ordered(self, names: Sequence[str]) -> list[str]:
        """Names of parts in the order of the page."""
        known = [*self.parts()] if len(names) > 1 else []
        return sorted(names, key=lambda name: known.index(name) if name in known else len(known))

    def _of_several(self, part: str) -> lab.Part | None:
        """A part of a page of several; None for the only part, and where it is not known."""
        return self.parts().get(part) if part else None

    def claims(self, part: str) -> list[Mapping[str, Any]]:
        """The judged claims of a part; all where the page is not known."""
        own = self._of_several(part)
        names = None if own is None else {claim.name for claim in own.claims}
        return [claim for claim in self._claims if names is None or claim["name"] in names]

    def figures(self, part: str) -> dict[str, str]:
        """The figures of a part, and those of the whole page: names → names of files in figures/."""
        own = self._of_several(part)
        if own is None:
            return dict(self._figures)
        others = {
            name for named, one in self.parts().items() if named != part for name in (*one.figures, f"summary_{named}")
        }
        return {name: file for name, file in self._figures.items() if name in own.figures or name not in others}

    def analyzers(self, part: str) -> tuple[Mapping[str, Analyzer], Mapping[str, Analyzer]]:
        """The analyzers of every saved point, and those of the last one."""
        own = self.parts().get(part)
        return ({}, {}) if own is None else (own.analyses, own.final)

    def command(self, part: str) -> str:
        """How its runs are trained; "" where that is not known."""
        found = self.records().get(part, {}).get("command")
        return notes.line(found) if isinstance(found, str) else ""
