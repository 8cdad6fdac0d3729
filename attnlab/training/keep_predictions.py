"""After the test: gather what the net predicted for every test image, and write predictions.npz."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchmetrics.utilities.distributed import gather_all_tensors

from attnlab.records.atomic import atomic_write
from attnlab.records.predictions import FILE, STEPS
from attnlab.records.run_folder import say
from attnlab.training.classifier import Classifier


def keep(classifier: Classifier, data: Any, folder: Path) -> dict[str, str]:
    """Write FOLDER/predictions.npz of the test that has just been run; {"predictions": its SHA-256} for the record.

    Every rank must ask; the first one writes. Nothing, with a line that says why, where it is not known which images
    the test had: of a data module without test_order on several ranks, or one that contradicts it.
    """
    said = _gathered(classifier, data)
    order = said[:, 3].astype(np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(said))):
        say(f"{folder.name}: its predictions are not kept: the data module does not say which images its test has")
        return {}
    predicted, confidence, label, _ = said[np.argsort(order)].T
    kind = np.min_scalar_type(int(max(predicted.max(), label.max())))
    steps = np.floor(confidence * STEPS).astype(np.uint16)  # down: what is below 1 stays below 1
    arrays: dict[str, Any] = {"label": label.astype(kind), "predicted": predicted.astype(kind), "confidence": steps}
    if names := getattr(data, "names", None):
        arrays["names"] = np.array(names, dtype=str)
    text = BytesIO()
    np.savez_compressed(text, **arrays)
    if classifier.trainer.is_global_zero:
        with atomic_write(folder / FILE) as part:
            part.write_bytes(text.getvalue())
    return {"predictions": hashlib.sha256(text.getvalue()).hexdigest()}


def _gathered(classifier: Classifier, data: Any) -> np.ndarray:
    """(class, confidence, label, number) float64 (N, 4) of all ranks' test images as they came; unknown numbers: -1."""
    columns = [torch.cat(column) for column in zip(*classifier.tested, strict=True)]
    count, several = len(columns[0]), classifier.trainer.world_size > 1
    unknown = torch.full((count,), -1)
    order = data.test_order() if hasattr(data, "test_order") else unknown if several else torch.arange(count)
    order = order if len(order) == count else unknown
    device = classifier.device if several else torch.device("cpu")
    mine = torch.stack([column.to(device).double() for column in (*columns, order)], dim=1)
    return torch.cat(gather_all_tensors(mine) if several else [mine]).cpu().numpy()
