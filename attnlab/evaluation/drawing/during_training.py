"""Draw maps during training (tracker.images=true), always on the same few validation images."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from attnlab.data.subset import sample
from attnlab.evaluation.drawing.map_figures import maps_figure, save_figure
from attnlab.evaluation.drawing.map_view import class_by_class, view_network

IMAGES = 4
PICTURES = 10  # at most, per run


class DrawMaps(Callback):
    """Draw maps at the end of up to ten epochs, evenly spaced, the first and the last included.

    Each picture is written to FOLDER/look/epoch_001.png and passed to the loggers that have `log_picture`. The images
    are validation images, or training images if the run holds none out, never test images. Drawing does not affect
    training: it draws no random number and changes no gradient and no running statistic.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = folder, run
        self.images: Any = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or -1
        evenly = {1 + round(i * (epochs - 1) / (PICTURES - 1)) for i in range(PICTURES)}
        wanted = evenly if epochs > 0 else {epoch}
        if not trainer.is_global_zero or epoch not in wanted:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if self.images is None:
            self.images = class_by_class(sample(data, "val" if len(data.val) else "train", 500), IMAGES)
        net: Any = pl_module.net
        training = net.training
        x = data.preprocess(self.images.images.to(pl_module.device))
        try:
            with torch.autocast(pl_module.device.type, enabled=False):
                names = getattr(data, "names", None) or [str(number) for number in range(int(data.classes))]
                view = view_network(net.eval(), self.images, x, names)
        finally:
            net.train(training)
        title = f"run {self.run}, after epoch {epoch}"
        target = self.folder / "look"
        target.mkdir(exist_ok=True)
        figure = maps_figure(view.images, view.main_maps(), view.labels, title)
        path = save_figure(figure, target / f"epoch_{epoch:03d}.png")
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                logger.log_picture("maps", path, trainer.global_step)
