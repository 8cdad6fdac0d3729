"""Maps during training (tracker.images=true): the same few validation images, seen by the network as it learns."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from attnlab.data.subset import sample
from attnlab.evaluation.drawing.map_figures import maps_figure, write
from attnlab.evaluation.drawing.map_view import look_at, of_all_classes

IMAGES = 4
PICTURES = 10  # at most, over a run


class Watch(Callback):
    """Writes FOLDER/look/epoch_001.png at the end of ten epochs, evenly spread, the first and the last among them, and
    hands them to the tracker. Images come from the validation part, without one from the training part: never from the
    test set. Training goes on as if nothing had looked: no random number is drawn, no gradient or statistic changes.
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
            self.images = of_all_classes(sample(data, "val" if len(data.val) else "train", 500), IMAGES)
        net: Any = pl_module.net
        training = net.training
        x = data.preprocess(self.images.images.to(pl_module.device))
        try:
            with torch.autocast(pl_module.device.type, enabled=False):
                names = [str(number) for number in range(int(data.classes))]
                seen = look_at(net.eval(), self.images, x, names)
        finally:
            net.train(training)
        title = f"run {self.run}, after epoch {epoch}"
        target = self.folder / "look"
        target.mkdir(exist_ok=True)
        path = write(maps_figure(seen.images, seen.few(), seen.labels, title), target / f"epoch_{epoch:03d}.png")
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                logger.log_picture("maps", path, trainer.global_step)
