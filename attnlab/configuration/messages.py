"""The wording of messages about config keys: what is wrong, the key and its value, then what is allowed."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from attnlab.configuration import removed
from attnlab.configuration.groups import choices
from attnlab.configuration.meant import common_start, meant

#: a choice that two nets could mean -> both
BOTH = {
    f"model=resnet{depth}": f"resnet{depth}_stem3 for small images, or model=timm model.name=resnet{depth} from 64 px"
    for depth in (18, 34, 50, 101)
}

LONG, NEAREST = 40, 10  # names of a list that is cut, and of what is left of it
ALL_NAMES = "python -m attnlab.run --help"


def wrong_value(key: str, value: Any, allowed: str) -> str:
    """`wrong value seed=-1; allowed is an integer from 0`."""
    return f"wrong value {key}={as_typed(value)}; allowed is {allowed}"


def unknown_choice(group: str, choice: str, names: Iterable[str] | None = None) -> str:
    """`unknown choice attention=cbma; did you mean cbam? allowed are ...`. names: None = the files of conf/<group>/."""
    if replacement := removed.CHOICES.get(f"{group}={choice}"):
        return f"removed choice {group}={choice}; use {replacement}"
    if both := BOTH.get(f"{group}={choice}"):
        return f"unknown choice {group}={choice}; use {both}"
    return f"unknown choice {group}={choice}" + _allowed(choice, choices(group) if names is None else names)


def unknown_key(key: str, names: Iterable[str], everywhere: Sequence[str] = ()) -> str:
    """`unknown key lr; did you mean recipe.optimizer.lr? allowed are ...`.

    names: the keys that are allowed in its place;  everywhere: all full keys of the config, one of which may be meant.
    """
    names = _in_length_order(names)
    hint = f" did you mean {' or '.join(found)}?" if (found := meant(key, names, everywhere)) else ""
    allowed = f" allowed are {', '.join(names)}" if names else ""
    return f"unknown key {key}" + (f";{hint}{allowed}" if hint or allowed else "")


def whole_group(group: str, value: Any) -> str:
    """`wrong value attention.mask=ignore; did you mean attention/mask=ignore?`: a choice is set by a slash."""
    key, typed, names = group.replace("/", "."), as_typed(value), choices(group)
    if typed in names:
        return f"wrong value {key}={typed}; did you mean {group}={typed}?"
    return f"wrong value {key}={typed};{nearest(typed, names)} allowed is {group}=NAME, of {', '.join(names)}"


def missing(key: str, allowed: str) -> str:
    """`missing key recipe.epochs; allowed is an integer from 1, or null`."""
    return f"missing key {key}; allowed is {allowed}"


def as_typed(value: Any) -> str:
    """A value as one types it in an override: null, true, false."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def nearest(given: str, names: Sequence[str]) -> str:
    """` did you mean cbam?`, the name that is spelt most nearly like `given`, in small letters; empty if none is."""
    small = {name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), small, n=3)
    best = max(close, key=lambda name: common_start(name, given.lower()), default="")
    return f" did you mean {small[best]}?" if best else ""


def _allowed(given: str, names: Iterable[str]) -> str:
    """The names that are allowed; of a long list only those nearest to a suggestion, and where all are."""
    names = _in_length_order(names)
    hint = nearest(given, names)
    shown = ", ".join(names)
    if hint and len(names) > LONG:
        near = difflib.get_close_matches(given.lower(), names, n=NEAREST, cutoff=0.0)
        shown = f"{', '.join(_in_length_order(near))} and {len(names) - len(near)} more; {ALL_NAMES} lists all"
    return f";{hint} allowed are {shown}" if names else ""


def _in_length_order(names: Iterable[str]) -> list[str]:
    """Variants have longer names than what they vary."""
    return sorted(names, key=lambda name: (len(name), name))
