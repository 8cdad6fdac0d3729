"""How Lightning writes the checkpoints of a run."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from attnlab.records.checkpoint import save


class AtomicCheckpointIO(TorchCheckpointIO):
    """A Lightning checkpoint plugin that writes atomically (attnlab.records.atomic) and adds the id of the run."""

    def __init__(self, run: str) -> None:
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(checkpoint | {"run": self.run}, Path(path))
