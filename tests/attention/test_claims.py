"""What README and tests/reference/README.md say of the reference files, counted from these."""

import re
import sys

import pytest

from attnlab.configuration.groups import CONF
from attnlab.configuration.targets import target
from tests.attention.test_parity import PAIRS, REFERENCE, node_of, stored

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen")  # fmt: skip


def held_to() -> dict[str, set[str]]:
    """{whose code: the attentions that the reference files hold to it}: their authors', or timm's.

    A file is the authors' own where its recorded source is a repository that the attention's own file, or its yaml,
    names as its source at that commit.
    """
    found: dict[str, set[str]] = {"authors": set(), "timm": set()}
    for name, (overrides, *_) in PAIRS.items():
        attention = overrides[0].removeprefix("attention=")
        repository = stored(name)[0]["source"].partition(":")[0]
        said = sys.modules[target(node_of(*overrides), "attention").__module__].__doc__ + header(attention)
        if repository in said:
            found["authors"].add(attention)
        elif repository.startswith("huggingface/pytorch-image-models"):
            found["timm"].add(attention)
    return {"authors": found["authors"], "timm": found["timm"] - found["authors"]}


def header(attention: str) -> str:
    return (CONF / "attention" / f"{attention}.yaml").read_text().partition("\n")[0]


@pytest.mark.parametrize("page", ["README.md", "tests/reference/README.md"])
def test_a_page_says_how_many_modules_are_held_to_whose_code(page):
    """Counted from what the reference files record, so that the sentence cannot drift."""
    text = " ".join((REFERENCE.parent.parent / page).read_text().split())
    sentence = re.search(r"(\w+)[^.]{0,20} are held to their authors' own[^.]*?, (\w+) \(([^)]*)\) to timm's", text)
    assert sentence, f"{page} does not say it"
    held = held_to()
    assert set().union(*held.values()) == {overrides[0].removeprefix("attention=") for overrides, *_ in PAIRS.values()}
    assert (WORDS.index(sentence[1].lower()), WORDS.index(sentence[2])) == (len(held["authors"]), len(held["timm"]))
    assert set(re.findall(r"`(\w+)`", sentence[3])) == held["timm"]
