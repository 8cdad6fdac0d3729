"""What docs/attentions.md and tests/reference/README.md say of the reference files, counted from these."""

import re
import sys

import pytest

from attnlab.configuration.groups import CONF
from attnlab.configuration.targets import target
from tests.attention.test_parity import PAIRS, REFERENCE, node_of, stored


def held_to() -> dict[str, set[str]]:
    """{whose code: the attentions that the reference files hold to it}: their authors', timm's, or others'.

    A file is the authors' own where its recorded source is a repository that the attention's own file, or its yaml,
    names as its source at that commit, unless that file says that no code of its authors is known.
    """
    found: dict[str, set[str]] = {"authors": set(), "timm": set(), "others": set()}
    for name, (overrides, *_) in PAIRS.items():
        attention = overrides[0].removeprefix("attention=")
        repository = stored(name)[0]["source"].partition(":")[0]
        said = sys.modules[target(node_of(*overrides), "attention").__module__].__doc__ + header(attention)
        if repository in said:
            found["others" if "No code of its authors is known" in said else "authors"].add(attention)
        elif repository.startswith("huggingface/pytorch-image-models"):
            found["timm"].add(attention)
    return found | {"timm": found["timm"] - found["authors"]}


def header(attention: str) -> str:
    return (CONF / "attention" / f"{attention}.yaml").read_text().partition("\n")[0]


@pytest.mark.parametrize("page", ["docs/attentions.md", "tests/reference/README.md"])
def test_a_page_says_how_many_modules_are_held_to_whose_code(page):
    """Counted from what the reference files record, so that the sentence cannot drift."""
    text = " ".join((REFERENCE.parent.parent / page).read_text().split())
    counted = r"(\d+) \(([^)]*)\) to"
    sentence = re.search(
        rf"(\d+)[^.]{{0,20}} are held to their authors' own[^.]*?, {counted} timm's, {counted} a copy by other", text
    )
    assert sentence, f"{page} does not say it"
    held = held_to()
    assert set().union(*held.values()) == {overrides[0].removeprefix("attention=") for overrides, *_ in PAIRS.values()}
    assert int(sentence[1]) == len(held["authors"])
    for whose, number, names in (("timm", sentence[2], sentence[3]), ("others", sentence[4], sentence[5])):
        assert int(number) == len(held[whose])
        assert set(re.findall(r"`(\w+)`", names)) == held[whose]
