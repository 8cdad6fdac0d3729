"""Which files of an image folder are read, and which are ignored. Imports neither torch nor Pillow."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Pillow's formats that are read, with their suffixes. A file is found by its suffix and decoded by its content. EPS,
#: PDF and WMF are left out, since decoding them runs programs.
FORMATS = {
    "PNG": (".png", ".apng"), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "BMP": (".bmp",), "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "AVIF": (".avif",),
    "DIB": (".dib",), "QOI": (".qoi",), "PCX": (".pcx",), "SGI": (".sgi", ".rgb", ".bw"), "TGA": (".tga",),
}  # fmt: skip
SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
#: files about images
TEXT = {".csv", ".html", ".ini", ".json", ".log", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
SYSTEM = {"thumbs.db"}


def is_image(path: Path) -> bool:
    """Whether a file's suffix is one of SUFFIXES."""
    return path.suffix.lower() in SUFFIXES


def unread(entries: Sequence[Path]) -> list[Path]:
    """The files of a class folder that may be images but are not read: those of other suffixes and in subfolders.

    entries: the folder's contents. Hidden files, texts, and files named as an image beside them (annotations) are no
    images.
    """
    others = [path for path in entries if not is_image(path) and _may_be_image(path)]
    if not others:
        return []
    images = {path.stem for path in entries if is_image(path)}
    below = [path for folder in others if folder.is_dir() for path in folder.rglob("*")]
    files = [path for path in others if path.is_file() and path.stem not in images]
    return files + [path for path in below if path.is_file() and _may_be_image(path)]


def _may_be_image(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() not in TEXT and path.name.lower() not in SYSTEM


def in_words(folder: Path, paths: Iterable[Path]) -> str:
    """Counts of the files of a class folder: `10 .heic, 2 in subfolders`."""
    kinds = Counter(
        (path.suffix.lower() or "without a suffix") if path.parent == folder else "in subfolders" for path in paths
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
