"""predictions.npz: the predictions of a finished run on every test image, bound to its record by a checksum.

Arrays: label, predicted (N,), uint8 or uint16; confidence (N,) uint16; names (classes,) of text, if the dataset has
names. No pickle: the file loads with allow_pickle=False. N images in the order of the test set, each once, for any
number of ranks. About 20 kB for 10,000 images.
"""

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from attnlab.errors import ConfigError
from attnlab.records.record import Record, find_run, read_record
from attnlab.records.record_check import fault

if TYPE_CHECKING:
    import pandas as pd

FILE = "predictions.npz"
#: bins of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)
BINS = 15
#: steps of the stored confidence; a multiple of the 15 bins, so that rounding moves no image to another bin
STEPS = 65535


@dataclass(frozen=True)
class Predictions:
    """The predictions of one run on its N test images, in the order of the test set.

    run: its id;  label, predicted: (N,) integers, classes from 0;  confidence: (N,) float64 in (0, 1], the softmax
    probability of `predicted`, to 1/131070;  data_hash: of the images;  names: of the classes, or None.
    """

    run: str
    label: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    data_hash: str
    names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def correct(self) -> np.ndarray:
        """(N,) booleans."""
        return self.predicted == self.label

    @property
    def error(self) -> float:
        """Top-1 error in percent, in float32 arithmetic, so that it equals the record's test/top1_error exactly."""
        right = np.float32(self.correct.sum()) / np.float32(len(self))
        return round(float(np.float32(100) * (np.float32(1) - right)), 6)

    def name(self, number: int) -> str:
        """The name of a class, or its number if the dataset has no names."""
        return self.names[number] if self.names else str(number)

    def frame(self) -> "pd.DataFrame":
        """A row an image: label, predicted, confidence, correct; the index is its number in the test set."""
        import pandas as pd

        columns = {"label": self.label, "predicted": self.predicted, "confidence": self.confidence}
        return pd.DataFrame(columns | {"correct": self.correct}).rename_axis("image")


def load_predictions(run_id: str, output_dir: str | Path = "outputs") -> Predictions:
    """The predictions of a finished run, by its id or the first letters of it.

    label, predicted, confidence, correct: arrays (N,), one element a test image, in the order of the test set;
    `.frame()` is the same as a pandas DataFrame. Raises ConfigError for a run that does not exist, that was recorded
    without predictions, or whose file is not the one that was written with its record.
    """
    folder = find_run(run_id, output_dir)
    record = read_record(folder, key="run") or {}
    if reason := fault(record, folder.name):
        raise ConfigError(f"run={folder.name}: its result.json {reason}")
    if record.get("predictions") is None:
        raise ConfigError(
            f"run={folder.name}: was recorded without predictions, by an earlier attnlab; force=true trains it again"
        )
    return _read(folder / FILE, record)


def of_records(records: Iterable[Record], *folders: str | Path) -> tuple[dict[str, Predictions], list[str]]:
    """({run id: predictions} of the records that have them, a line for each file that is rejected and why).

    A file is OUTPUT_DIR/<id>/predictions.npz or a tracked <results>/**/predictions/<id>.npz, below the folders.
    """
    tracked = {path.stem: path for folder in folders for path in Path(folder).glob("**/predictions/*.npz")}
    found: dict[str, Predictions] = {}
    left_out = []
    for record in (record for record in records if record.get("predictions") is not None):
        name = record["id"]
        paths = [Path(folder) / name / FILE for folder in folders] + ([tracked[name]] if name in tracked else [])
        reasons = []
        for path in filter(Path.exists, paths):
            try:
                found[name] = _read(path, record)
                break
            except ConfigError as error:
                reasons.append(str(error))
        else:
            left_out += reasons[:1]
    return found, left_out


def _read(path: Path, record: Record) -> Predictions:
    """The content of a file. Raises ConfigError unless its checksum is the one in the record."""
    run = f"run={record['id']}: its {path.name}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{run} cannot be read ({error.strerror}); force=true trains it again") from error
    if hashlib.sha256(data).hexdigest() != record["predictions"]:
        raise ConfigError(
            f"{run} is not the one that was written with its record (its checksum differs); force=true trains it again"
        )
    try:
        with np.load(BytesIO(data), allow_pickle=False) as file:
            label, predicted, steps = (file[name] for name in ("label", "predicted", "confidence"))
            names = tuple(map(str, file["names"])) if "names" in file else None
        fits = all(a.dtype.kind == "u" and a.shape == (len(label),) and len(a) for a in (label, predicted, steps))
        if not fits or (names and max(label.max(), predicted.max()) >= len(names)):
            raise ValueError("its arrays are of other shapes or types")
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:  # any file
        raise ConfigError(f"{run} holds no predictions ({error})") from error
    confidence = np.where(steps < STEPS, (steps + 0.5) / STEPS, 1.0)
    return Predictions(record["id"], label, predicted, confidence, record["data_hash"], names)
