"""The pixels of a picture, whatever mode and format it was saved in: 8-bit colours, as the picture is shown."""

import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from attnlab.configuration.image_formats import FORMATS
from attnlab.data.decode import decode, open_image, pixels_of, read_picture
from attnlab.errors import DataError

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
SIZE = 16


def saved(folder, picture, name="a.png", **settings):
    picture.save(folder / name, **settings)
    return folder / name


def shown(path):
    return decode(path, SIZE)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2"])
@pytest.mark.parametrize("factor", [256, 257])
def test_grey_of_16_bits_is_the_grey_of_8(tmp_path, name, factor):
    path = saved(tmp_path, Image.fromarray(GREY.astype(np.uint16) * factor), name)
    assert np.array_equal(shown(path), np.repeat(GREY[..., None], 3, axis=2))
    assert np.array_equal(pixels_of(*read_picture(path)).permute(1, 2, 0).numpy(), shown(path))


def test_grey_of_12_bits_in_a_tiff(tmp_path):
    """Two pixels are three bytes; no library at hand writes such a file."""
    values = GREY.flatten().astype(int) * 16
    packed = b"".join(bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in values.reshape(-1, 2))
    tags = [(256, SIZE), (257, SIZE), (258, 12), (259, 1), (262, 1), (273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, SIZE)]
    tags.append((279, len(packed)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (tmp_path / "a.tif").write_bytes(
        b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + packed
    )
    assert np.array_equal(shown(tmp_path / "a.tif")[..., 0], GREY)


@pytest.mark.parametrize(("kind", "word"), [(np.int32, "integers of 32 bits"), (np.float32, "floats")])
def test_pixels_without_a_known_range_are_refused_by_name(tmp_path, kind, word):
    path = saved(tmp_path, Image.fromarray(GREY.astype(kind)), "a.tif")
    with pytest.raises(
        DataError, match=rf"/a\.tif cannot be read as an image \(its pixels are {word}, of no known range"
    ):
        shown(path)


def test_what_is_transparent_lies_on_white(tmp_path):
    hidden = np.dstack([GREY, GREY.T, GREY, np.where(GREY < 128, 0, 255).astype(np.uint8)])
    expected = np.where(GREY[..., None] < 128, 255, hidden[..., :3])
    assert np.array_equal(shown(saved(tmp_path, Image.fromarray(hidden))), expected)
    keyed = Image.fromarray(GREY)
    expected = np.where(GREY == 7, 255, GREY)  # a colour of a PNG, or of a palette, that means transparent
    assert np.array_equal(shown(saved(tmp_path, keyed, transparency=7))[..., 0], expected)
    assert np.array_equal(shown(saved(tmp_path, keyed.convert("P"), "a.gif", transparency=7))[..., 0], expected)
    opaque = np.dstack([GREY, GREY.T, GREY, np.full_like(GREY, 255)])
    assert np.array_equal(shown(saved(tmp_path, Image.fromarray(opaque))), opaque[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_folders_pictures_are_upright_and_imagenets_as_stored(tmp_path, orientation):
    picture = Image.fromarray(np.dstack([GREY, GREY.T, GREY]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path, picture, exif=exif)
    back = {1: 0, 2: "m", 3: 2, 4: "f", 5: "t", 6: 3, 7: "a", 8: 1}[orientation]  # what EXIF's numbers mean
    pixels = np.asarray(picture)
    expected = {
        "m": pixels[:, ::-1], "f": pixels[::-1], "t": pixels.transpose(1, 0, 2),
        "a": np.rot90(pixels, 2).transpose(1, 0, 2),
    }.get(back, np.rot90(pixels, back) if isinstance(back, int) else None)  # fmt: skip
    assert np.array_equal(shown(path), expected)
    assert np.array_equal(np.asarray(open_image(path)), pixels)  # as torchvision reads them


def test_a_damaged_exif_says_nothing(tmp_path):
    picture = Image.fromarray(np.dstack([GREY, GREY.T, GREY]))
    path = saved(tmp_path, picture, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12")
    assert np.array_equal(shown(path), np.asarray(picture))


@pytest.mark.parametrize("suffix", sorted({suffix for suffixes in FORMATS.values() for suffix in suffixes} - {".apng"}))
def test_every_suffix_that_is_listed_is_read(tmp_path, suffix):
    picture = Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).convert("1" if suffix in (".pbm", ".bw") else "RGB")
    path = saved(tmp_path, picture.convert("L") if suffix == ".bw" else picture, f"a{suffix}")
    assert (shown(path) == 255).all()


def test_a_program_under_the_name_of_a_picture_is_not_run(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"/a\.png cannot be read as an image \(its format is not known\)"):
        shown(tmp_path / "a.png")


def test_16_bits_that_hold_8_are_refused_and_black_is_black(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY.astype(np.uint16)))
    with pytest.raises(DataError, match=r"its pixels of 16 bits are all below 256, which is black; store 8 bits"):
        shown(path)
    black = saved(tmp_path, Image.fromarray(np.zeros((SIZE, SIZE), np.uint16)), "black.png")
    assert not shown(black).any()
