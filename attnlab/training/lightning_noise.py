"""Silence messages of Lightning that advertise, or that do not apply to attnlab's loaders."""

import logging
import warnings


def quiet() -> None:
    """Silence Lightning's advertisements and its warnings that do not apply here."""
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
        ".*sync_dist=True.*",  # logged values are already reduced over the ranks
        ".*all_gather.*",
        ".*`srun` command is available.*",  # a batch script without srun runs on one process on purpose
        ".*your dataloader is not resumable.*",  # ours is: attnlab.training.checkpointing.Last sets where it begins
    ):
        warnings.filterwarnings("ignore", text)
