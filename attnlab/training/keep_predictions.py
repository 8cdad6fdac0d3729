"""After the test: gather the net's prediction for every test image and write predictions.npz."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchmetrics.utilities.distributed import gather_all_tensors

from attnlab.records.atomic import atomic_write
from attnlab.records.predictions import FILE, STEPS
from attnlab.records.run_folder import print_once
from attnlab.training.classifier import Classifier


def keep_predictions(classifier: Classifier, data: Any, folder: Path) -> dict[str, str]:
    """Write FOLDER/predictions.npz of the test that has just been run; return {"predictions": its SHA-256}.

    Every rank must call it; the first one writes. When the order of the test images is unknown (a data module without
    test_order on several ranks, or with a wrong one), a line is printed and the result is empty.
    """
    gathered = _gathered(classifier, data)
    order = gathered[:, 3].astype(np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(gathered))):
        print_once(
            f"{folder.name}: its predictions are not kept: the data module does not give the order of its test images"
        )
        return {}
    predicted, confidence, label, _ = gathered[np.argsort(order)].T
    kind = np.min_scalar_type(int(max(predicted.max(), label.max())))
    steps = np.floor(confidence * STEPS).astype(np.uint16)  # rounded down: a confidence below 1 stays below 1
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
    """float64 (N, 4) of all ranks' test images: class, confidence, label, number of the image, -1 where unknown."""
    columns = [torch.cat(column) for column in zip(*classifier.tested, strict=True)]
    count, several = len(columns[0]), classifier.trainer.world_size > 1
    unknown = torch.full((count,), -1)
    order = data.test_order() if hasattr(data, "test_order") else unknown if several else torch.arange(count)
    order = order if len(order) == count else unknown
    device = classifier.device if several else torch.device("cpu")
    mine = torch.stack([column.to(device).double() for column in (*columns, order)], dim=1)
    return torch.cat(gather_all_tensors(mine) if several else [mine]).cpu().numpy()
