"""The list of silent failures names tests that are there, and its count can fail."""

import re
from pathlib import Path

from silent import TRIED, counted

TESTS = Path(__file__).parent.parent


def test_every_test_that_is_named_is_there():
    for name in [name for names in TRIED.values() for name in names]:
        path, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (TESTS / path).read_text(), flags=re.MULTILINE), name


def test_a_test_that_fails_is_a_wrong_number_that_is_found():
    passed = {name: True for names in TRIED.values() for name in names}
    assert counted(passed) == (len(TRIED), 0)
    one = TRIED["cached pixels"][1]
    assert counted(passed | {one: False}) == (len(TRIED), 1)
    assert counted({one: True}) == (1, 0)
