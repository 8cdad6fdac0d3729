"""A classifier that does many training steps in one batch of Lightning's.

On a GPU, Lightning's work on the host for each batch takes as long as a training step of a small net. Here a batch of
Lightning's is a chunk of up to CHUNK steps, by manual optimization. Everything else sees single steps: global_step,
batch numbers, checkpoints, log rows and the numbers of epochs are those of a run without chunks, and a run can be
resumed by either kind.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from attnlab.data.chunks import Chunk
from attnlab.machine.graphs import Graphs
from attnlab.training.checkpointing import seed_step
from attnlab.training.classifier import OFTEN, Classifier
from attnlab.training.graph_step import GraphStep, without_compiler

CHUNK = OFTEN  # steps; the losses of a chunk are read from the device together


class ChunkClassifier(Classifier):
    """Classifier whose training batches are chunks of steps; on a GPU each step is a CUDA graph.

    A batch (images, labels) of a loader without chunks is one step.
    graphs: how a step is captured;  batch_size: images in the batches that are captured;  seed: of random numbers in
    the steps;  compiled, first_step, on_failure: see GraphStep;  the other arguments: see Classifier.
    """

    def __init__(
        self,
        *args: Any,
        graphs: Graphs,
        batch_size: int,
        seed: int,
        compiled: bool = False,
        first_step: AbstractContextManager[Any] | None = None,
        on_failure: Callable[[str], None],
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.automatic_optimization = False
        self.graphs, self.batch_size, self.seed = graphs, batch_size, seed
        self.compiled, self.first_step, self.on_failure = compiled, first_step, on_failure
        self._step: GraphStep | None = None

    def on_train_start(self) -> None:
        """Make the step, for the weights and the optimizer's state as they are after resuming."""
        super().on_train_start()
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self._step = GraphStep(
            self.net, optimizer, self.graphs, batch_size=self.batch_size, label_smoothing=self.label_smoothing,
            compiled=self.compiled, first_step=self.first_step, on_failure=self.on_failure,
        )  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the number of steps from the counter of automatic optimization, which both kinds of run keep."""
        super().on_load_checkpoint(checkpoint)
        if "loops" in checkpoint:  # best.ckpt has none
            loop = checkpoint["loops"]["fit_loop"]
            steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
            loop["epoch_loop.manual_optimization.optim_step_progress"] = steps

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        """Train on each batch of the chunk, as far as recipe.steps and machine.batches allow."""
        assert self._step is not None
        chunk = batch if isinstance(batch, Chunk) else Chunk([tuple(batch)], as_it_is)
        first, scheduler = self.global_step, self.lr_schedulers()
        chunk.shorten(steps_left(self.trainer))
        for step, inputs in enumerate(chunk.inputs, start=first):
            seed_step(self.seed, step, self.trainer.global_rank)
            loss, wrong = self._step(inputs, chunk.make_batch)
            scheduler.step()  # type: ignore[union-attr]
            self._keep(loss, wrong, len(inputs[0]), step)
        count_steps(self.trainer, len(chunk.inputs))

    def _keep(self, loss: Tensor, wrong: Tensor, images: int, step: int) -> None:
        """As Classifier.training_step: read losses every OFTEN steps from a GPU, and each at once on a CPU."""
        if not self.recent:
            self.recent_from = step
        self.recent.append((loss, wrong, images))
        if len(self.recent) == OFTEN or (loss.is_cpu and not math.isfinite(loss)):
            self._add_up()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        with without_compiler(self.compiled):
            super().validation_step(batch, batch_idx)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        with without_compiler(self.compiled):
            super().test_step(batch, batch_idx)


def as_it_is(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The make_batch of inputs that are a batch already. A graph keeps the first make_batch that it is given."""
    return images, labels


def steps_left(trainer: pl.Trainer) -> int:
    """Steps until the end of the epoch or of the run, whichever comes first; at a batch that has begun."""
    left = int(trainer.num_training_batches) - trainer.fit_loop.batch_idx
    return left if trainer.max_steps < 0 else min(left, trainer.max_steps - trainer.global_step)


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Count `steps` steps in one batch as Lightning counts that many batches of automatic optimization.

    Lightning itself counts the batch once.
    """
    loop = trainer.fit_loop.epoch_loop
    automatic, manual = loop.automatic_optimization.optim_progress.optimizer, loop.manual_optimization
    trackers: Any = [manual.optim_step_progress, automatic.step, automatic.zero_grad, loop.scheduler_progress]
    for tracker in trackers:
        _add(tracker, steps)
    _add(loop.batch_progress, steps - 1)
    loop._batches_that_stepped += steps - 1
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    fetcher.fetched += steps - 1
    fetcher.done = fetcher.length is not None and fetcher.fetched >= fetcher.length
    loop.batch_progress.is_last_batch = fetcher.done


def _add(progress: Any, count: int) -> None:
    for tracker in (progress.total, progress.current):
        for name in vars(tracker):  # ready, started, processed, completed, as far as it has them
            setattr(tracker, name, getattr(tracker, name) + count)
