"""Hydra's options on the command line of run, in any place: `attention=se --cfg job model=resnet8`."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from attnlab.configuration.messages import nearest
from attnlab.errors import ConfigError


def options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with all options before all overrides, since Hydra refuses an option between two overrides.

    Raises ConfigError for an option that Hydra does not have.
    """
    known = {flag: action for action in get_args_parser()._actions for flag in action.option_strings}
    options: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        flag, equals, _ = argument.partition("=")
        action = known.get(flag)
        if action is None and flag.startswith("-"):
            flags = sorted(name for name in known if name.startswith("--"))
            raise ConfigError(f"unknown option {flag};{nearest(flag, flags)} allowed are {', '.join(flags)}, key=value")
        if action is None:
            overrides.append(argument)
        elif equals or action.nargs == 0:
            options.append(argument)
        elif action.nargs == "?":  # --info, which would take the next override for its value
            options.append(f"{flag}={rest.pop(0) if rest and rest[0] in (action.choices or ()) else action.const}")
        else:
            options += [argument, *rest[:1]]
            del rest[:1]
    return [*options, *overrides]
