"""Overrides of the command line, `key=value`, parsed as Hydra parses them."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from attnlab.errors import ConfigError


def parse(overrides: Sequence[str], where: str) -> list[Override]:
    """Overrides as Hydra reads them. Raises ConfigError, saying where they stand."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        text = " ".join(str(error).split("\nSee https")[0].split())
        raise ConfigError(f"{where}: {text}") from error
