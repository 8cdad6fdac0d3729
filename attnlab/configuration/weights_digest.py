"""The digest of a file of trained weights: what a run's id holds of `model.checkpoint`, whose path decides nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnlab.errors import ConfigError

DIGITS = 12


def weights_digest(model: Mapping[str, Any]) -> str | None:
    """12 hexadecimal digits of the SHA-256 of the file `model.checkpoint`; None without one.

    Raises ConfigError for a file that cannot be read, and if model.pretrained is not true.
    """
    path = model.get("checkpoint")
    if path is None:
        return None
    if model.get("pretrained") is not True:
        raise ConfigError(f"model.checkpoint={path} without model.pretrained=true; set both, or neither")
    try:
        with Path(str(path)).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise ConfigError(f"cannot read model.checkpoint={path}; {error.strerror}") from error
