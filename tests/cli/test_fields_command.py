"""`toylab fields`: what can be set of a page's runs."""

import json

import pytest

from toylab.cli.main import main
from toylab.configs import override
from toylab.lab import page, pages, settable


def shown(arguments, capsys):
    assert main(["fields", *arguments]) == 0
    return capsys.readouterr().out


def test_a_page_lists_each_field_in_a_line_with_type_value_unit_and_meaning(capsys):
    lines = shown(["grokking", "--scale", "smoke"], capsys).splitlines()
    (p,) = [line.split() for line in lines if line.split()[:1] == ["task.p"]]
    assert p[:5] == ["task.p", "whole", "number", "13", "yes"] and p[5:] == [
        "The",
        "modulus",
        "(default:",
        "Nanda",
        "et",
        "al.",
        "2023).",
    ]
    (warmup,) = [line for line in lines if " optimizer.warmup " in line]
    assert " 10 steps " in warmup and "in steps; 0 for none" in warmup
    (decay,) = [line for line in lines if " optimizer.weight_decay " in line]
    assert decay.split()[1:4] == ["number", "1", "no"]  # a sweep varies it within one compiled program
    heads = [line.split()[0].partition(".")[0] for line in lines[2:-2] if line.strip()]
    assert list(dict.fromkeys(heads)) == ["field", "task", "net", "optimizer", "seed", "data_seed"]
    (optimizer,) = [line for line in lines if line.split()[:2] == ["optimizer", "class"]]
    assert "One of Adam, AdamW, Chain, LAMB, SGD, SignedDecayAdamW." in optimizer


def test_json_has_the_same_and_every_field_from_texts_can_be_set_to_its_value(capsys):
    record = json.loads(shown(["grokking", "--scale", "smoke", "--json"], capsys))
    assert (record["page"], record["scale"]) == ("grokking", "smoke")
    settings = {one["field"]: one for one in record["parts"][""]}
    assert settings["optimizer.warmup"] == {
        "field": "optimizer.warmup", "type": "whole number", "values": ["10"], "unit": "steps", "options": [],
        "meaning": "Length of the linear warm-up of the learning rate, in steps; 0 for none.", "compiles": True,
        "text": True,
    }  # fmt: skip
    assert settings["task.pairs"]["options"] == ["ordered", "unordered"] and not settings["task.order"]["text"]
    (config,) = pages.load("grokking").CONFIGS["smoke"]
    for one in settings.values():
        if one["text"]:
            assert override(config, one["field"], one["values"][0]) == config, one


def test_values_of_several_runs_and_parts(capsys):
    record = json.loads(shown(["real_images", "--scale", "smoke", "--part", "free", "--json"], capsys))
    assert list(record["parts"]) == ["free"]
    (scale,) = [one for one in record["parts"]["free"] if one["field"] == "net.init_scale"]
    assert scale["values"] == ["1", "4", "8"] and not scale["compiles"]
    assert "real_images, part free, at scale smoke:" in shown(
        ["real_images", "--scale", "smoke", "--part", "free"], capsys
    )


def test_a_page_of_networks_of_others_has_their_folder(capsys):
    assert "weights  folder" in shown(["published_models", "--scale", "smoke"], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["groking"], "'groking' is not known: did you mean grokking?"),
        (["grokking", "--part", "x"], "--part is x: grokking has no parts."),
        (["grokking", "--scale", "large"], "--scale: invalid choice: 'large'"),
        ([], "the following arguments are required: page."),
        (["grokking", "--jsn"], "--jsn is no option: did you mean --json?"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(arguments, message, capsys):
    try:
        status = main(["fields", *arguments])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    assert status == 2 and captured.out == "" and message in captured.err and captured.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", pages.built_in())
def test_every_page_lists_fields_that_all_say_what_they_mean(name):
    loaded = pages.load(name)
    for scale in ("smoke", "cpu", "paper"):
        for part, settings in settable.of_page(loaded, scale, page.parts(loaded)).items():
            assert settings and [one.field for one in settings if not one.meaning] == [], (part, scale)
