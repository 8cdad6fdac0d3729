"""Runs with a policy and erasing: they resume, and chunks of steps augment as single steps do."""

import pytest
from resumed import assert_equal, assert_resumes, checkpoint, config

import attnlab

BOTH = ["recipe.augment.erasing=0.5", "recipe.augment.policy=trivial"]


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["false", "true"])
def test_a_killed_run_augments_as_one_that_was_not(tmp_path, monkeypatch, graph):
    assert_resumes(tmp_path, monkeypatch, (2, 6, 8), *BOTH, f"machine.graph={graph}")


def test_chunks_of_steps_are_the_run_itself(tmp_path):
    runs = [config(tmp_path / graph, *BOTH, f"machine.graph={graph}") for graph in ("false", "true")]
    records = [attnlab.train(cfg) for cfg in runs]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert_equal(*(checkpoint(cfg, "last")["state_dict"] for cfg in runs))
