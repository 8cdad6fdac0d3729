"""Overrides that replace a node of the recipe, so that the new node inherits no key of the old one.

`recipe.optimizer=adamw` and `recipe/optimizer=adamw` take the optimizer of conf/recipe/optimizer/adamw.yaml.
`recipe.schedule._target_=torch.optim.lr_scheduler.NAME` takes a schedule of torch. Hydra merges what is set with what
the recipe has, so AdamW would get the momentum of SGD. Here such an override becomes the two that Hydra needs: one that
deletes the node, and one that adds the new one. Imports no torch.
"""

import re
from collections.abc import Iterator, Sequence

import yaml

from attnlab.configuration.groups import choices, file_of
from attnlab.configuration.messages import as_typed, unknown_choice
from attnlab.errors import ConfigError

OPTIMIZER, SCHEDULE, GROUP = "recipe.optimizer", "recipe.schedule", "recipe/optimizer"
WORD = re.compile(r"[A-Za-z]\w*")
NO_NAMES = ("null", "true", "false")  # values that Hydra does not read as words


def spelled_out(overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra needs them: a node is replaced before the overrides of its keys.

    Raises ConfigError for a name that conf/recipe/optimizer/ does not have.
    """
    new = dict(filter(None, map(_replacement, overrides)))
    found: list[str] = []
    for override in overrides:
        node = next((node for node in new if _is_of(override, node)), None)
        if node and f"~{node}" not in found:
            found += [f"~{node}", f"+{node}={new[node]}"]
        if node is None or not _replacement(override):
            found.append(f"++{override}" if node and override.startswith(node) else override)
    return found


def typed(overrides: Sequence[str]) -> list[str]:
    """The overrides as a person types them, from what `spelled_out` returns: for lines that a run prints."""
    return list(_typed(overrides))


def replacing(overrides: Sequence[str]) -> list[str]:
    """The overrides of a node that one of them replaces, in all jobs of a sweep or in some."""
    nodes = dict(filter(None, (_replacement(each) for override in overrides for each in _values(override))))
    return [override for override in overrides if any(_is_of(override, node) for node in nodes)]


def by_group(override: str) -> str:
    """`recipe.optimizer=adamw` as `recipe/optimizer=adamw`, for what selects records; all others as they are."""
    key, _, value = override.partition("=")
    return f"{GROUP}={value}" if key == OPTIMIZER and value in choices(GROUP) else override


def _replacement(override: str) -> tuple[str, str] | None:
    """(the node that an override replaces, its new content as Hydra reads it); None for all other overrides."""
    key, _, value = override.partition("=")
    if key in (OPTIMIZER, GROUP) and WORD.fullmatch(value) and value not in NO_NAMES:
        if value not in choices(GROUP):
            raise ConfigError(unknown_choice(key, value, choices(GROUP)))
        return OPTIMIZER, _content(value)
    if key == f"{SCHEDULE}._target_" and value.startswith("torch."):
        return SCHEDULE, f"{{_target_:{value}}}"
    return None


def _content(choice: str) -> str:
    """conf/recipe/optimizer/<choice>.yaml, whose values are plain, as a value of an override."""
    node = yaml.safe_load(file_of(GROUP, choice).read_text())
    return "{" + ",".join(f"{name}:{as_typed(value)}" for name, value in node.items()) + "}"


def _is_of(override: str, node: str) -> bool:
    """Whether an override sets the node or a key below it."""
    key = override.split("=", 1)[0].lstrip("+~").replace("/", ".")
    return f"{key}.".startswith(f"{node}.")


def _values(override: str) -> list[str]:
    """`key=a,b` as `key=a` and `key=b`."""
    key, _, value = override.partition("=")
    return [f"{key}={each}" for each in value.split(",")]


def _typed(overrides: Sequence[str]) -> Iterator[str]:
    names = {f"+{OPTIMIZER}={_content(choice)}": f"{OPTIMIZER}={choice}" for choice in choices(GROUP)}
    for override in overrides:
        if override.startswith(f"+{SCHEDULE}={{"):
            yield f"{SCHEDULE}._target_={override.split(':', 1)[1].removesuffix('}')}"
        elif override.startswith((f"++{OPTIMIZER}.", f"++{SCHEDULE}.")):
            yield override.removeprefix("++")
        elif override not in (f"~{OPTIMIZER}", f"~{SCHEDULE}"):
            yield names.get(override, override)
