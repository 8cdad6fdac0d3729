"""Silence what Lightning says to everybody, and what does not hold for attnlab's loaders."""

import logging
import warnings


def quiet() -> None:
    """Silence Lightning's advertisements, and its advice for loaders that attnlab does not use."""
    for logger in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.accelerators.cuda",
        "lightning.fabric",
        "lightning.pytorch.trainer.connectors.signal_connector",
    ):
        logging.getLogger(logger).setLevel(logging.WARNING)
    for text in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*GPU available but not used.*",
        ".*Total length of .* across ranks is zero.*",
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        ".*sync_dist=True.*",  # what is logged was already reduced over the ranks
        ".*all_gather.*",
        ".*`srun` command is available.*",  # a batch script of one task is a machine like any other
        ".*your dataloader is not resumable.*",  # ours is: attnlab.training.checkpointing.Last tells it where to begin
    ):
        warnings.filterwarnings("ignore", text)
