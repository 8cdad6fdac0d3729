"""Tables of encoded pictures, read by the `datasets` library: sets of the Hugging Face hub, and local folders.

Finds splits and columns, and identifies the pictures. Imports no torch.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnlab.configuration.image_tree import MOST_READ
from attnlab.configuration.secrets import hide
from attnlab.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np  # takes a sixth of the time of `attnlab.run --help`, which imports this module

TEST = ("test", "validation", "valid", "val")  # splits that may be the test set, in this order
KEYS = ("root", "name", "subset", "revision", "train_split", "test_split", "image_column", "label_column")
CHUNK = 1000  # rows that are read at once
UNREACHABLE = ("ConnectionError", "ConnectError", "OfflineModeIsEnabled", "LocalEntryNotFoundError")


@dataclass(frozen=True, eq=False)
class Table:
    """One split. rows: a datasets.Dataset of the pictures' column, not decoded;  labels: int64 (N,);
    names: of the classes, or None where the labels are plain integers."""

    split: str
    rows: Any
    labels: "np.ndarray"
    names: tuple[str, ...] | None

    def encoded(self, number: int) -> bytes:
        """One picture as it is stored: a PNG, a JPEG, ..."""
        return _bytes(next(iter(self.rows[number].values())))

    def all_encoded(self, step: int) -> Iterator[bytes]:
        """Every step-th picture, faster than one by one."""
        for part in self.rows.select(range(0, len(self.labels), step)).with_format("arrow").iter(CHUNK):
            yield from map(_bytes, part.column(0).to_pylist())

    def size(self) -> int:
        """Bytes of all pictures."""
        import pyarrow.compute as pc

        total = 0
        for part in self.rows.with_format("arrow").iter(CHUNK):
            stored, paths = (pc.struct_field(part.column(0), name) for name in ("bytes", "path"))
            total += pc.sum(pc.binary_length(stored)).as_py() or 0
            total += sum(Path(path).stat().st_size for path in paths.filter(pc.is_null(stored)).to_pylist())
        return total


def _bytes(value: Mapping[str, Any]) -> bytes:
    return value["bytes"] if value["bytes"] is not None else Path(value["path"]).read_bytes()


def read_tables(dataset: Mapping[str, Any]) -> tuple[Table, Table]:
    """(training, test) table of a config's dataset. Raises ConfigError or DataError."""
    return _read(*(dataset.get(key) for key in KEYS))


def class_count(dataset: Mapping[str, Any]) -> int:
    """`dataset.classes` of a table: the number of class names, else the largest training label plus 1."""
    train, _ = read_tables(dataset)
    return len(train.names) if train.names is not None else int(train.labels.max()) + 1


def fingerprint(dataset: Mapping[str, Any]) -> str:
    """`dataset.listing` of a table: the digest of its contents."""
    return contents(*read_tables(dataset))[0]


@cache
def contents(train: Table, test: Table) -> tuple[str, tuple[str, ...] | None]:
    """(16 hexadecimal digits for the labels, class names and pictures in their order, the digest of each picture).

    They do not depend on where the table lies, on caches, or on how it is divided into files. Of more than MOST_READ
    bytes every k-th picture is read, as many as have that size; then the digests are None.
    """
    size = train.size() + test.size()
    step = -(-size // MOST_READ) or 1
    total, digests = hashlib.sha256(f"{size} {train.names}".encode()), list[str]()
    for table in (train, test):
        total.update(f" {len(table.labels)} ".encode() + table.labels.tobytes())
        digests += [hashlib.blake2b(data, digest_size=16).hexdigest() for data in table.all_encoded(step)]
    total.update("".join(digests).encode())
    return total.hexdigest()[:16], tuple(digests) if step == 1 else None


@cache
def _read(
    root: str | None, name: str | None, subset: str | None, revision: str | None, train_split: str,
    test_split: str | None, image_column: str | None, label_column: str | None,
) -> tuple[Table, Table]:  # fmt: skip
    splits = _load(root, name, subset, revision)
    train = _table(splits, "train_split", train_split, image_column, label_column)
    others = {split: rows for split, rows in splits.items() if split != train_split}
    for split in (test_split,) if test_split is not None else (split for split in TEST if split in others):
        test = _table(others, "test_split", split, image_column, label_column)
        if test.labels.min() >= 0 or test_split is not None:  # the hub's test sets are often without labels, all -1
            break
    else:
        raise ConfigError(
            f"dataset.test_split: must be given, no split named {', '.join(TEST)} has labels; "
            f"allowed are {', '.join(others) or 'none: the set has only one split'}"
        )
    for table in (train, test):
        if table.labels.min() < 0:
            raise DataError(f"dataset.root={root}: split {table.split} has pictures without a label")
    if train.names != test.names:
        raise DataError(f"dataset.root={root}: splits {train.split} and {test.split} have other class names")
    return train, test


def _load(root: str | None, name: str | None, subset: str | None, revision: str | None) -> dict[str, Any]:
    """{split: datasets.Dataset} of a folder or of a set of the hub."""
    if root is None:
        raise ConfigError(
            "dataset.name: must be given, a set of the hub, as dataset.name=ILSVRC/imagenet-1k; "
            "or a folder of Parquet, Arrow or tar files by dataset.root=DIR"
        )
    key, folder = "dataset.name" if root == name else "dataset.root", Path(root).expanduser()
    if "://" in root:
        raise ConfigError(f"{key}={hide(root)}: is a stream of unknown length; allowed are a folder, a name of the hub")
    if folder.is_dir() and root == name:
        raise ConfigError(f"dataset.name={name}: is a folder here; a folder is given by dataset.root")
    if not folder.is_dir() and root != name:
        raise DataError(f"dataset.root={root}: is no folder; a set of the hub is given by dataset.name")
    try:
        from datasets import load_dataset, load_from_disk
    except ImportError as error:
        raise ConfigError("dataset=huggingface: needs the package datasets (attnlab[hf])") from error
    try:
        if (folder / "dataset_dict.json").is_file():
            return dict(load_from_disk(str(folder)))
        return dict(load_dataset(str(folder) if folder.is_dir() else root, subset, revision=revision))
    except Exception as error:  # errors of the library, Arrow and the network have no class in common
        raise DataError(f"{key}={root}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Why a set could not be loaded, and what to do about it, in one line."""
    text = hide(" ".join(str(error).split())) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if "gated dataset" in str(cause) or type(cause).__name__ == "GatedRepoError":
            return f"is gated; accept its terms on the hub, then log in by `hf auth login` or HF_TOKEN ({text})"
        if type(cause).__name__ in UNREACHABLE:
            return f"is not in the cache, and the hub cannot be reached; dataset.root=DIR reads a folder ({text})"
        cause = cause.__cause__ or cause.__context__
    return f"cannot be loaded ({text})"


def _table(splits: Mapping[str, Any], key: str, split: str, image: str | None, label: str | None) -> Table:
    """One split with its two columns, which are found by their types unless they are named."""
    from datasets import ClassLabel, Image, Value

    if split not in splits:
        raise ConfigError(f"dataset.{key}={split}: no such split; allowed are {', '.join(splits) or 'none'}")
    rows, kinds = splits[split], splits[split].features
    pictures = [
        name
        for name, kind in kinds.items()
        if isinstance(kind, Image) or (isinstance(kind, Mapping) and "bytes" in kind) or kind == Value("binary")
    ]
    image = _column("image_column", "pictures", image, pictures)
    classes = [name for name, kind in kinds.items() if isinstance(kind, ClassLabel)]
    integers = [name for name, kind in kinds.items() if isinstance(kind, Value) and "int" in kind.dtype]
    labelled = (classes or integers) if label is None else classes + integers
    label = _column("label_column", "class labels or integers", label, labelled)
    encoded = rows.select_columns(image).cast_column(image, Image(decode=False))
    if missing := encoded.data.column(0).null_count:
        raise DataError(f"dataset.image_column={image}: {missing} rows of split {split} have no picture")
    labels = rows.select_columns(label).with_format("arrow")[:].column(0).fill_null(-1).to_numpy()
    names = tuple(kinds[label].names) if label in classes else None
    return Table(split, encoded, labels.astype("int64"), names)


def _column(key: str, what: str, wanted: str | None, found: list[str]) -> str:
    allowed = f"columns of {what} are {', '.join(found) or 'none'}"
    if wanted is not None and wanted not in found:
        raise ConfigError(f"dataset.{key}={wanted}: no such column; {allowed}")
    if wanted is None and len(found) != 1:
        raise ConfigError(f"dataset.{key}: must be given; {allowed}")
    return wanted or found[0]
