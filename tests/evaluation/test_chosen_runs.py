"""The values of a command's own keys, as attnlab.look and attnlab.judge read them."""

import pytest
import synthetic

from attnlab.evaluation.chosen_runs import choose_runs


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("image=my pics/im 0.png", "my pics/im 0.png"),
        ("image=my pics/im 0.png,my pics/im 1.png", ["my pics/im 0.png", "my pics/im 1.png"]),
        ("image='a, b.png','c d.png'", ["a, b.png", "c d.png"]),
        ("image=[my pics/im 0.png,b.png]", ["my pics/im 0.png", "b.png"]),
    ],
)
def test_file_names_may_have_spaces(tmp_path, typed, value):
    run = synthetic.record(["model=resnet8"])
    synthetic.write(tmp_path, run)
    assert choose_runs([f"run={run['id']}", typed, f"output_dir={tmp_path}"], ["image"]).own == {"image": value}
