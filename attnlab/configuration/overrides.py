"""Overrides of the command line, `key=value`, parsed as Hydra parses them."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from attnlab.configuration.explain import cannot_parse
from attnlab.errors import ConfigError


def parse(overrides: Sequence[str], where: str) -> list[Override]:
    """Overrides as Hydra reads them. where: where they are written, e.g. `the command line`.

    Raises ConfigError for one that cannot be parsed.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        typed = getattr(error, "override", None) or " ".join(overrides)
        raise ConfigError(f"{cannot_parse(typed, str(error))}; it is from {where}") from error
