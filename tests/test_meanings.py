"""What fields mean: every field says it, and `help()` shows it."""

import ast
import importlib
import inspect
import pkgutil
import pydoc
from dataclasses import fields, is_dataclass

import pytest
from flax import nnx, struct

import toylab
from toylab import base, models, optim, tasks
from toylab.base import Config
from toylab.meanings import UNITS, documented, meanings, unit


def classes(package):
    """The public classes that are defined in a module or package."""
    paths = getattr(package, "__path__", None)
    modules = [
        package,
        *(importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(paths or [])),
    ]
    found = {kind for module in modules for kind in vars(module).values() if isinstance(kind, type)}
    return sorted(
        (one for one in found if one.__module__.startswith(package.__name__)), key=lambda one: one.__qualname__
    )


DATACLASSES = [kind for package in (base, tasks, models, optim) for kind in classes(package) if is_dataclass(kind)]
MODULES = [kind for kind in classes(models) if issubclass(kind, nnx.Module) and kind.__name__ in models.__all__]


def test_there_are_classes_to_be_held_to_this():
    assert {Config, tasks.ModularArithmetic, models.Net, optim.AdamW, optim.Clip} <= set(DATACLASSES)
    assert {models.Transformer, models.CentredDense, models.Reverse} <= set(MODULES) and len(MODULES) >= 20


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__qualname__)
def test_every_field_of_a_task_a_net_and_an_optimizer_says_what_it_means(kind):
    told = meanings(kind)
    assert [field.name for field in fields(kind) if not told.get(field.name)] == []


@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__qualname__)
def test_every_field_of_a_module_says_what_it_means(kind):
    told = meanings(kind)
    assert [name for name in models.constructors.fields(kind) if not told.get(name)] == []


def test_a_meaning_ends_like_a_sentence_and_names_a_known_unit():
    for kind in (*DATACLASSES, *MODULES):
        for name, text in meanings(kind).items():
            assert text.endswith((".", '."')) and "  " not in text, (kind, name, text)
    assert unit(meanings(optim.AdamW)["warmup"]) == "steps" and unit(meanings(optim.AdamW)["lr"]) == ""
    assert all(unit(f"A length, in {one}.") == one for one in UNITS)


@pytest.mark.parametrize(
    "kind", [optim.AdamW, tasks.SparseParity, Config, models.CentredDense, models.PizzaTransformer]
)
def test_help_lists_every_field_with_its_meaning_once(kind):
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(models.constructors.fields(kind))
    shown = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    lines = [f"{name}: {meanings(kind)[name]}" for name in names]
    assert [line for line in lines if shown.count(line) != 1] == [] and len(lines) > 3
    assert inspect.getdoc(toylab.Config).startswith("Everything that determines a run")


def test_what_a_class_says_of_an_inherited_field_comes_before_what_its_base_says(tmp_path, monkeypatch):
    (tmp_path / "own_task.py").write_text(
        '''
from flax import struct
class Base(struct.PyTreeNode):
    """A base."""
    a: int = 1
    """The a
    of the base."""
    b: int = 2
    """The b."""
class Own(Base):
    a: int = 3
    """Its own a."""
    c: int = 4
    x = """no field"""
'''
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own_task = importlib.import_module("own_task")
    assert meanings(own_task.Base) == {"a": "The a of the base.", "b": "The b."}
    assert meanings(own_task.Own) == {"a": "Its own a.", "b": "The b."}
    assert documented(own_task.Base).__doc__ == "A base.\n\nAttributes:\n    a: The a of the base.\n    b: The b."


def test_a_class_without_source_has_no_meanings_and_keeps_its_docstring():
    kind = type(
        "Typed", (struct.PyTreeNode,), {"__annotations__": {"a": int}, "__doc__": "Typed.", "__module__": "nowhere"}
    )
    assert meanings(kind) == {} and documented(kind).__doc__ == "Typed."


def test_no_comment_stands_in_for_a_meaning():
    """Of a field what it means is a string below it, which editors and the site show; a comment is not shown."""
    for package in (base, tasks, models, optim):
        for kind in classes(package):
            if not is_dataclass(kind) and not issubclass(kind, nnx.Module):
                continue
            lines = inspect.getsource(inspect.getmodule(kind)).split("\n")
            (node,) = [
                one
                for one in ast.walk(ast.parse("\n".join(lines)))
                if isinstance(one, ast.ClassDef) and one.name == kind.__name__
            ]
            stated = [
                one for one in node.body if isinstance(one, ast.AnnAssign) and not isinstance(one.value, ast.Tuple)
            ]
            of_fields = [one for one in stated if is_dataclass(kind) and one.target.id in meanings(kind)]
            assert [lines[one.end_lineno - 1] for one in of_fields if "#" in lines[one.end_lineno - 1]] == [], kind
