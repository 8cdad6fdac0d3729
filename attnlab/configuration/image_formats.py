"""Which files of an image tree are read, and which are left out. Imports neither torch nor Pillow."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

#: Pillow's formats that are read, whatever a file is called, and the suffixes that are looked for. EPS, PDF and WMF are
#: not among them: they are programs.
FORMATS = {
    "PNG": (".png", ".apng"), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "BMP": (".bmp",), "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "AVIF": (".avif",),
    "DIB": (".dib",), "QOI": (".qoi",), "PCX": (".pcx",), "SGI": (".sgi", ".rgb", ".bw"), "TGA": (".tga",),
}  # fmt: skip
SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
#: what tells of pictures and is none
TEXT = {".csv", ".html", ".ini", ".json", ".log", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
SYSTEM = {"thumbs.db"}


def is_image(path: Path) -> bool:
    """Whether a file's suffix says so."""
    return path.suffix.lower() in SUFFIXES


def unread(entries: Sequence[Path]) -> list[Path]:
    """Of what lies in a class folder the files that may be pictures and are not read: other suffixes, and subfolders.

    Hidden files, texts, and files named as an image beside them (annotations) are no pictures.
    """
    others = [path for path in entries if not is_image(path) and _may_be_picture(path)]
    if not others:
        return []
    images = {path.stem for path in entries if is_image(path)}
    below = [path for folder in others if folder.is_dir() for path in folder.rglob("*")]
    files = [path for path in others if path.is_file() and path.stem not in images]
    return files + [path for path in below if path.is_file() and _may_be_picture(path)]


def _may_be_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() not in TEXT and path.name.lower() not in SYSTEM


def in_words(folder: Path, paths: Iterable[Path]) -> str:
    """Files of a class folder, counted: `10 .heic, 2 in subfolders`."""
    kinds = Counter(
        (path.suffix.lower() or "without a suffix") if path.parent == folder else "in subfolders" for path in paths
    )
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
