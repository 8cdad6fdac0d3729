"""What the validation draw follows: dataset.seed, the run's own seed, or the order of the files. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from attnlab.errors import ConfigError


def draw_seed(validation: Mapping[str, Any], dataset_seed: int, run_seed: int) -> int | None:
    """The seed by which the validation images are drawn; None where order=file holds out the last ones.

    validation: recipe.validation. Its `seed` is null, which follows dataset.seed, so that all runs hold out the same
    images; or run, which follows the run's seed, so that the seeds of a row differ in the images held out as well.
    Runs of one seed hold out the same images either way, whatever their attention.
    Raises ConfigError for seed=run where nothing is drawn.
    """
    follows = validation.get("seed")
    if validation.get("order", "seed") == "seed":
        return run_seed if follows == "run" else dataset_seed
    if follows is not None:
        raise ConfigError(
            f"recipe.validation.seed={follows} with recipe.validation.order=file: the last images of the files are "
            "held out, nothing is drawn; allowed is seed=null, or order=seed"
        )
    return None
