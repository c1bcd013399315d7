"""A page's folder beside its runs: what was run, claims, figures, and the page itself, whose analyses it can compute."""

import ast
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from toylab import lab, store
from toylab.base import Analyzer
from toylab.explore.recordings.archive import signature
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
        path = self.folder / "frozen.json"
        frozen = (self._tried(store.read_json, path) or {}) if path.exists() else {}
        parts = {name: one.get("part") for name, one in frozen.items() if isinstance(one, dict)}
        self._part_of = {name: part for name, part in parts.items() if isinstance(part, str)}
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

    def _named(self) -> str:
        """What names the page: what was given, or the folder's record, or its name; "" where nothing does."""
        known, stated = pages.built_in(), self.record.get("page")
        found = self._given or stated or (pages.own_name(known[self.name]) if self.name in known else "")
        return found if isinstance(found, str) else ""

    def _imported(self) -> ModuleType | None:
        if isinstance(self._given, ModuleType):
            return self._given
        if not (named := self._named()):
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
        """Names of parts in the order of the page, which is read from its text: importing it may take seconds."""
        file = getattr(self._given, "__file__", None) or self._file() if len(names) > 1 else None
        known = stated_parts(Path(file)) if file else []
        return sorted(names, key=lambda name: known.index(name) if name in known else len(known))

    def _file(self) -> Path | None:
        named = self._named()
        if named.endswith(".py"):
            return Path(named)
        return pages.built_in().get(named.rpartition(".")[2]) if named.startswith(f"{pages.PACKAGE}.") else None

    def claims(self, part: str) -> list[Mapping[str, Any]]:
        """The judged claims of a part, as frozen.json says of which they are; those that it does not name are of all."""
        return [claim for claim in self._claims if self._part_of.get(claim["name"], part) == part]

    def figures(self) -> dict[str, str]:
        """The figures of the page: names → names of files in figures/."""
        return dict(self._figures)

    def analyzers(self, part: str) -> tuple[Mapping[str, Analyzer], Mapping[str, Analyzer]]:
        """The analyzers of every saved point, and those of the last one."""
        own = self.parts().get(part)
        return ({}, {}) if own is None else (own.analyses, own.final)

    def command(self, part: str) -> str:
        """How its runs are trained; "" where that is not known."""
        found = self.records().get(part, {}).get("command")
        return notes.line(found) if isinstance(found, str) else ""


def stated_parts(file: Path) -> list[str]:
    """The names of a page's parts in the order in which its text states them; none where that is not plain."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return []
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        if [one for one in targets if isinstance(one, ast.Name) and one.id == "PARTS"] and isinstance(value, ast.Dict):
            keys = [one.value for one in value.keys if isinstance(one, ast.Constant)]
            return [key for key in keys if isinstance(key, str)]
    return []
