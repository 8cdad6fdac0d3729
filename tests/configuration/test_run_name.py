"""What a run is called: short alone, and with what tells it from the others in a list."""

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.run_name import listed, names_of, run_name, title_of


def config(*overrides):
    return plain(attnlab.config(["model=resnet8", *overrides]))


def test_a_name_is_attention_model_dataset_and_seed():
    assert run_name(config("attention=se", "attention.reduction=8", "seed=3")) == (
        "se reduction=8 resnet8 cluttered_digits seed=3"
    )
    assert run_name(config("recipe.epochs=9")) == "none resnet8 cluttered_digits seed=0"


def test_a_narrow_name_leaves_out_the_dataset_then_the_model():
    values = config("attention=se")
    assert [run_name(values, room) for room in (34, 33, 17, 16, 1)] == [
        "se resnet8 cluttered_digits seed=0",
        "se resnet8 seed=0",
        "se resnet8 seed=0",
        "se seed=0",
        "se seed=0",
    ]


def test_the_id_gives_way_first():
    assert title_of("se seed=0", "0123456789ab") == "se seed=0 (0123456789ab)"
    assert title_of("se seed=0", "0123456789ab", 24) == "se seed=0 (0123456789ab)"
    assert title_of("se seed=0", "0123456789ab", 23) == "se seed=0"


def test_a_list_adds_what_differs_and_nothing_that_all_share():
    shared = "dataset.train_size=400"
    runs = [config(shared), config(shared, "recipe.epochs=9"), config(shared, "head=ltpa", "attention=se")]
    same = "none resnet8 cluttered_digits seed=0"
    assert names_of(runs) == [
        f"{same} recipe.epochs=2",
        f"{same} recipe.epochs=9",
        "se resnet8 cluttered_digits seed=0 head=ltpa",
    ]
    assert names_of([config(), config("head=ltpa")]) == [f"{same} head=linear", f"{same} head=ltpa"]
    assert names_of([config(), config("recipe=modern", "attention=se")]) == [
        f"{same} recipe=quick",
        "se resnet8 cluttered_digits seed=0 recipe=modern",
    ]
    assert names_of([config("start_from='0123456789ab'"), config()]) == [
        f"{same} start_from=0123456789ab",
        same,
    ]
    assert names_of([config("recipe.epochs=9")]) == [same]
    assert names_of([]) == []


def test_a_listing_has_a_line_for_each_run_and_says_how_many_more():
    runs = [("0123456789ab", config()), ("ba9876543210", None)]
    assert listed(runs, 12).splitlines() == [
        "  0123456789ab  none resnet8 cluttered_digits seed=0",
        "  ba9876543210",
        "  and 10 more",
    ]
