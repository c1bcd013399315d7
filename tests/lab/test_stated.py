"""What a page states is checked when it is loaded, and its claims are tried on shapes: before anything is trained."""

import re
import types
from dataclasses import replace

import numpy as np
import pytest
from small_pages import finding, part, small, traced

from toylab import lab
from toylab.lab import Part, pages, stated
from toylab.lab.rehearsal import rehearse

PAGES = sorted(pages.built_in())


def page(**stated):
    module = types.ModuleType("experiments.mine")
    whole = part("mine", small(2))
    own = {"CONFIGS": whole.configs, "SAVES": whole.saves, "CLAIMS": whole.claims, "ANALYSES": whole.analyses}
    vars(module).update({name: value for name, value in {**own, **stated}.items() if value is not None})
    return module


@pytest.mark.parametrize("name", traced(PAGES))
def test_every_page_of_the_lab_states_what_it_should(name):
    for scale in ("smoke", "cpu", "paper"):
        stated.check(pages.load(name), scale)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ANALYSES": None, "ANALYSIS": {}}, "ANALYSIS is no name of a page: did you mean ANALYSES?"),
        ({"CLAIMS": None, "CLAIM": []}, "CLAIM is no name of a page: did you mean CLAIMS?"),
        ({"FINALS": {}}, "FINALS is no name of a page: did you mean FINAL?"),
        ({"STOPS": {}}, "STOPS is no name of a page: did you mean STOP?"),
        ({"PART": {}}, "PART is no name of a page: did you mean PARTS?"),
        ({"SAVES": None}, "it states no SAVES"),
        ({"CONFIGS": None}, "it states no CONFIGS"),
        ({"CONFIGS": {"smoke": []}}, "CONFIGS is {'smoke': []}: give a list of Configs, at least one"),
        ({"CONFIGS": {"cpu": []}}, "CONFIGS is {'cpu': []}: give a mapping by scale, with smoke"),
        ({"CONFIGS": {"smoke": [3]}}, "give a list of Configs"),
        ({"SAVES": (0, 3)}, "SAVES is (0, 3): give a mapping by scale"),
        ({"SAVES": {"smoke": (3, 0)}}, "give ascending step numbers"),
        ({"SAVES": {"smoke": (0, 0.5)}}, "give ascending step numbers"),
        ({"SAVES": {"smoke": ()}}, "give ascending step numbers"),
        ({"SAVES": {"smoke": (-1, 5)}}, "give ascending step numbers"),
        ({"CLAIMS": [finding("a", 3)]}, "the quantity of 'a' is no function"),
        ({"CLAIMS": [finding("a", np.mean)] * 2}, "two claims are named 'a'"),
        ({"CLAIMS": {"a": 1}}, "CLAIMS is {'a': 1}: give a list of toylab.claims.Claim"),
        ({"FIGURES": [np.mean]}, "give functions of measures by name"),
        ({"FIGURES": {"a b": np.mean}}, "each name a word"),
        ({"FIGURES": {"a": 3}}, "FIGURES is {'a': 3}: give functions"),
        ({"ANALYSES": {"a": 3}}, "ANALYSES is {'a': 3}: give analyzers by name"),
        ({"ANALYSES": {"final": np.mean}}, "'final' is taken"),
        ({"PROBES": {"a/b": np.mean}}, "'a/b' is taken, or has a slash"),
        ({"STOP": {"smoke": 3}}, "give a function of measures, or None"),
        ({"STOP": np.mean}, "give a mapping by scale"),
        ({"MILESTONE": np.mean}, "give a word and a function"),
        ({"KEEP": "W"}, "KEEP is 'W': give a tuple of names"),
        ({"OMIT": "loss"}, "OMIT is 'loss': give a tuple of names of measures"),
        ({"OMIT": ("loss", "valid")}, "valid is needed"),
        ({"OMIT": ("config/seed",)}, "config/seed is needed"),
        ({"IMPORTED": 3}, "IMPORTED is 3: give an Imported"),
        ({"PARTS": {}}, "PARTS is {}: give a Part by name"),
        ({"PARTS": {"a": 3}}, "PARTS['a'] is 3: give a Part by name"),
        ({"PARTS": {"": Part()}}, "give a Part by name"),
        ({"PARTS": {"a": Part()}}, "PARTS['a'].configs is {}: give a mapping by scale"),
    ],
)
def test_what_a_page_states_wrongly_is_one_sentence(changes, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        stated.check(page(**changes), "smoke")
    assert str(error.value).startswith("the page mine: ") and "\n" not in str(error.value)


def test_own_names_are_left_alone():
    stated.check(page(STEPS=3, SEEDS=(0, 1), PAPER="x", lower=1, DENSITY=0.1, SOLVED=2), "smoke")


def tried(quantity, **changes):
    whole = part("mine", small(2))
    rehearse(replace(whole, claims=[finding("mine", quantity)], **changes), whole.configs["smoke"], [0, 3])


@pytest.mark.parametrize(
    "name", ["los", "norm/V", "final/weights/V", "final/norm/W", "weights/W", "config/task.densit"]
)
def test_a_claim_that_names_no_measure_is_refused_before_training(name):
    with pytest.raises(ValueError, match=f"the claim 'mine': {name} is no measure: did you mean "):
        tried(lambda m: m[name])


@pytest.mark.parametrize(
    "quantity",
    [
        lambda m: m.last("loss"),
        lambda m: m["norm/W"][:, -1],
        lambda m: m["final/weights/W"].sum(axis=(1, 2)),
        lambda m: m["loss"][m["config/task.density"] == 0.001][0],  # which made-up numbers lack
        lambda m: m.best_of(8)[0],
    ],
)
def test_a_claim_of_what_there_will_be_is_left_to_be_judged(quantity):
    tried(quantity)


def test_a_claim_of_params_that_are_not_kept_is_refused():
    with pytest.raises(ValueError, match=r"the page's analyses do not fit run .*: KeyError"):
        tried(lambda m: m.last("loss"), keep=("b",))


def test_a_claim_of_a_measure_that_is_omitted_is_refused():
    with pytest.raises(ValueError, match=r"the claim 'mine': loss is no measure"):
        tried(lambda m: m.last("loss"), omit=("loss",))


def test_a_part_that_omits_what_is_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"a part omits los, which is no measure: did you mean loss\?"):
        tried(lambda m: m.last("loss"), omit=("los",))


def test_analyses_of_a_part_that_keeps_no_params_are_refused():
    with pytest.raises(ValueError, match=r"keeps \[\] of the params, none of the net's"):
        tried(lambda m: m.last("loss"), keep=())


def test_made_up_measures_take_no_memory():
    big = {"big": lambda params, run: {"x": np.zeros(1) + np.zeros((1000, 1000), np.float32)}}
    tried(lambda m: m["big/x"], analyses=big)
    assert lab.NoMeasure.__mro__[1] is KeyError
