"""How validation images are chosen: by dataset.seed, by the run's seed, or as the last of the files. No torch."""

from collections.abc import Mapping
from typing import Any

from attnlab.errors import ConfigError


def draw_seed(validation: Mapping[str, Any], dataset_seed: int, run_seed: int) -> int | None:
    """The seed that draws the validation images; None for order=file, which holds out the last images.

    validation: recipe.validation. With seed=null the seed is dataset.seed, so that all runs hold out the same images.
    With seed=run it is the run's seed, so that the runs of one table row also differ in the images they hold out. In
    both cases runs of one seed hold out the same images, whatever their attention.
    Raises ConfigError for seed=run with order=file, where nothing is drawn.
    """
    source = validation.get("seed")
    if validation.get("order", "seed") == "seed":
        return run_seed if source == "run" else dataset_seed
    if source is not None:
        raise ConfigError(
            f"nothing to draw: recipe.validation.seed={source} and recipe.validation.order=file, which holds out the "
            "last images; allowed is seed=null, or order=seed"
        )
    return None
