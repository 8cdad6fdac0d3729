"""One message for an error of Hydra or OmegaConf: what is wrong, the key and its value, and what is allowed."""

import re
from collections.abc import Iterable
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from attnlab.configuration.groups import LAUNCHER_PACKAGES, choices, is_group
from attnlab.configuration.hydra_compose import all_keys, parent_node, siblings
from attnlab.configuration.messages import unknown_choice, unknown_key, wrong_value
from attnlab.configuration.schema import CHECKS, NO_ATTENTION
from attnlab.errors import AttnlabError

#: Hydra's "Could not override 'lr'", "Could not delete from config. 'lr' does not exist"
NO_KEY = re.compile(r"Could not (?:override|delete)[^']*'([^']+)'")


def explain(error: BaseException, overrides: Iterable[str] = ()) -> str:
    """The message, in one line. overrides: those that the failing config was composed from.

    Of an AttnlabError, or an error that one caused, it is the AttnlabError's own message.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AttnlabError):
            text = str(cause)
            # A DataLoader passes an error on as the text of its worker's traceback; its last line is the message.
            return text if "Original Traceback" not in text else text.strip().splitlines()[-1].split(": ", 1)[-1]
        cause = cause.__cause__
    return _explain(error, str(error) or str(error.__cause__), list(overrides))


def _explain(error: BaseException, text: str, overrides: list[str]) -> str:
    if found := re.search(r"(?:Config|Data)Error raised while resolving interpolation: (.+)", text):
        return found[1]  # raised by one of our resolvers
    if found := re.search(r"Could not (?:find|load) '([^']*)/([^'/]*)'", text):
        return _unknown_choice(found[1], found[2], text)
    if found := re.search(r"The value of '(.+)' is (.*) and not (.*)\.", text):
        return f"cannot delete {found[1]}={found[3]}; its value is {found[2]}"
    if key := refused_key(error):
        return _unknown_key(key, text, overrides)
    if found := re.search(r"Missing mandatory value: (\S+)", text):
        key = found[1] if "." in found[1] else getattr(error, "full_key", None) or found[1]
        return f"missing value {key}; add {key}=..."
    if "Config group override must be" in text:  # Hydra does not name the group
        return _not_a_name(overrides) or text
    if found := re.search(r"interpolation '\$\{([\w.]+)\}': Incompatible value '(.*?)'", text):
        key, value = found[1], found[2].replace("None", "null")
        return wrong_value(key, value, CHECKS[key][1]) if key in CHECKS else f"wrong value {key}={value}"
    if found := re.search(r"Interpolation key '([^']+)' not found(?:\s+full_key: (\S+))?", text):
        return f"missing key {found[1]}; {found[2] or 'another key'} refers to it"
    if found := re.search(r"Ambiguous value for argument '([^']+)'|Sweep parameters '(.+)' requires", text):
        return f"several values {found[1] or found[2]}; a sweep needs -m"
    if found := re.search(r"already at '([^']+)'|Multiple values for (\S+)\.", text):
        return f"{found[1] or found[2]} exists already; leave out the +"
    if found := re.search(r"Error merging override (.+)", text):
        return f"wrong value {found[1]}"
    if typed := getattr(error, "override", None):
        return cannot_parse(typed, text)
    return _one_line(text)


def cannot_parse(override: str, text: str) -> str:
    """The message for an override that Hydra cannot parse. text: Hydra's message."""
    reason = _one_line(re.sub(r"Error parsing override '.*'\n", "", text))
    return f"cannot parse {override}: {reason}; allowed is key=value, special characters in quotes"


def refused_key(error: BaseException | None) -> str | None:
    """The key of which Hydra says that the config has none, e.g. `recipe.epoch`; None for any other error."""
    while error is not None:
        if found := NO_KEY.search(str(error)):
            return found[1]
        error = error.__cause__
    return None


def _one_line(text: str) -> str:
    """Hydra's and OmegaConf's own words, without the advice and the details that follow them."""
    text = re.sub(r"\s+full_key: (\S+)(?:\s+(?:reference|object)_type=\S+)*", r" (\1)", text)
    return " ".join(text.split("\nSee https")[0].split("\nSet the env")[0].split("\nConfig search path")[0].split())


def _unknown_choice(group: str, choice: str, text: str) -> str:
    if group == "hydra/launcher" and choice in LAUNCHER_PACKAGES:
        package, launcher = LAUNCHER_PACKAGES[choice]
        return f"missing package {package}, which launcher={launcher} needs; install attnlab[{launcher}]"
    names = re.findall(r"\n\t([\w-]+)(?=\n)", text.split("Config search path")[0])
    return unknown_choice(group, choice, names or choices(group))


def _not_a_name(overrides: list[str]) -> str:
    """The message for `attention=null`, `attention=3` and `=3`; empty where no override is one."""
    for override in overrides:
        key, _, value = override.partition("=")
        if not key:
            return f"missing key in {override}; allowed is key=value"
        group = key.lstrip("+~")
        if is_group(group) and value not in choices(group):
            return unknown_choice(group, value)
    return ""


def _unknown_key(key: str, text: str, overrides: list[str]) -> str:
    parent, _, name = key.rpartition("/")
    if parent and is_group(key):
        chosen = next((o.split("=", 1)[1] for o in overrides if o.startswith(f"{parent}=")), None)
        which = f"{parent}={chosen}" if chosen else f"the chosen {parent}"
        return f"unknown group {key}; {which} has no {name}, as only gates have one"
    if is_group(key):  # attention={reduction: 4}
        value = next((o.split("=", 1)[1] for o in overrides if o.startswith(f"{key}=")), "null")
        return unknown_choice(key, value)
    try:
        node = parent_node(key, overrides)
        *parents, _ = key.split(".")
        if found := re.search(r"\w+\.\w+(?=[,}])", str(node._value()) if node._is_interpolation() else ""):
            above = ".".join(parents)
            return f"unknown key {key}; {above} is {found[0]} here: set that, or all of {above}={{...}}"
        if parents == ["attention"] and node.get("_target_") == NO_ATTENTION:
            known = ", ".join(f"attention.{name}" for name in node if name != "_target_")
            return f"unknown key {key}; attention=none has only {known}; choose an attention, as attention=se"
        adds = "" if "Could not delete" in text else _way_to_add(key, node)
    except (HydraException, OmegaConfBaseException, AttributeError, TypeError):
        return unknown_key(key, [], all_keys(overrides))
    message = unknown_key(key, siblings(key, overrides), all_keys(overrides))
    return message if "did you mean" in message else message + adds


def _way_to_add(key: str, node: Any) -> str:
    """How to give a class or function an argument that the yaml does not list; empty where `node` names none."""
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    return f"; +{key}=... adds it, if {target} has it" if isinstance(target, str) else ""
