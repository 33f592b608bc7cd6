from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
import sys
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from leukobench.cells.decoding import MAX_PIXELS, contiguous, read_image
from leukobench.core.errors import InputError
from tests.conftest import interrupted_after

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
ALPHA = np.where(np.arange(30) < 10, 0, np.where(np.arange(30) < 20, 127, 255)).astype(np.uint8) * np.ones_like(GREY)
GREY_16 = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
RGB_16 = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".webp"])
def test_grey_and_colour_of_8_bits_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    for name, pixels, expected in (("grey", GREY, three(GREY)), ("colour", RGB, RGB)):
        path = tmp_path / f"{name}{suffix}"
        Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
        assert np.array_equal(read_image(path).rgb, expected)
        assert not read_image(path).lossy


def test_jpeg_and_lossy_webp_say_so(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    Image.fromarray(RGB).save(tmp_path / "a.webp", quality=80)
    Image.fromarray(RGB).save(tmp_path / "a.tif", compression="jpeg")
    for name in ("a.jpg", "a.webp", "a.tif"):
        assert read_image(tmp_path / name).lossy
        assert read_image(tmp_path / name).rgb.shape == RGB.shape


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif"])
def test_palettes_and_single_bits_are_looked_up(tmp_path: Path, suffix: str) -> None:
    colours = Image.fromarray(RGB).quantize(16)
    colours.save(tmp_path / f"palette{suffix}")
    assert np.array_equal(read_image(tmp_path / f"palette{suffix}").rgb, np.asarray(colours.convert("RGB")))
    Image.fromarray(GREY > 99).save(tmp_path / f"bits{suffix}")
    assert np.array_equal(read_image(tmp_path / f"bits{suffix}").rgb, three((GREY > 99) * np.uint8(255)))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 450])
def test_a_bitmap_has_the_pixels_that_pillow_and_opencv_read(tmp_path: Path, width: int) -> None:
    """Its rows are padded to multiples of 4 bytes; what lies in the padding and after the pixels does not count."""
    path = tmp_path / "a.bmp"
    expected = RNG.integers(0, 256, (7, width, 3), dtype=np.uint8)
    Image.fromarray(expected).save(path)
    content = bytearray(path.read_bytes())
    for padding in range(54 + 3 * width, len(content), (3 * width + 3) // 4 * 4):
        content[padding : padding + -3 * width % 4] = b"\xff" * (-3 * width % 4)
    path.write_bytes(content + b"more")
    read = read_image(path).rgb
    assert read.base is not None and read.strides[0] < 0, "not read without Pillow"
    for pixels in (read, contiguous(read), np.asarray(Image.open(path)), cv2.imread(str(path))[..., ::-1]):
        assert np.array_equal(pixels, expected)
    assert contiguous(read).flags.c_contiguous
    assert np.array_equal(contiguous(read[2:5, : width // 2 + 1]), expected[2:5, : width // 2 + 1])


def test_other_bitmaps_are_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(RGB).save(path)
    plain = path.read_bytes()
    top_down = bytearray(plain)
    top_down[22:26] = (-len(RGB)).to_bytes(4, "little", signed=True)
    later = bytearray(plain[:54] + b"\x07" * 10 + plain[54:])  # a gap between header and pixels
    later[10:14] = (64).to_bytes(4, "little")
    for content, expected in ((plain, RGB), (top_down, RGB[::-1]), (later, RGB)):
        path.write_bytes(content)
        assert np.array_equal(read_image(path).rgb, expected)
        assert np.array_equal(np.asarray(Image.open(path)), expected)
    for bits in ("RGBA", "L", "P", "1"):
        Image.fromarray(RGB).convert(bits).save(path)
        assert np.array_equal(read_image(path).rgb, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("missing", [3, 92, 1800])
def test_a_bitmap_without_its_last_bytes_is_refused(tmp_path: Path, missing: int) -> None:
    """The last two bytes are padding."""
    path = tmp_path / "a.bmp"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(InputError, match=r"cannot be read \(.*\); replace it"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("transparent", [0, 255])
def test_what_is_less_than_half_opaque_is_transparent(tmp_path: Path, suffix: str, transparent: int) -> None:
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / f"a{suffix}", **options)
    expected = RGB.copy()
    expected[:, :20] = transparent
    assert np.array_equal(read_image(tmp_path / f"a{suffix}", transparent=transparent).rgb, expected)


def test_transparency_of_grey_and_of_a_palette_counts_too(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([GREY, ALPHA]), "LA").save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png").rgb[:, 20:], three(GREY)[:, 20:])
    assert not read_image(tmp_path / "grey.png").rgb[:, :20].any()
    colours = Image.fromarray(RGB).quantize(16)
    colours.save(tmp_path / "palette.png", transparency=3)
    expected = np.asarray(colours.convert("RGB")).copy()
    expected[np.asarray(colours) == 3] = 0
    assert np.array_equal(read_image(tmp_path / "palette.png").rgb, expected)


def test_of_16_bits_the_upper_8_are_kept(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), GREY_16)
    cv2.imwrite(str(tmp_path / "colour.png"), RGB_16[..., ::-1])
    for order in "<>":
        for compression in (None, "zlib"):
            options = {"byteorder": order, "compression": compression}
            tifffile.imwrite(tmp_path / f"grey{order}{compression}.tif", GREY_16, **options)
            tifffile.imwrite(tmp_path / f"colour{order}{compression}.tif", RGB_16, photometric="rgb", **options)
    tifffile.imwrite(tmp_path / "negative.tif", GREY_16, photometric="miniswhite")
    cv2.imwrite(str(tmp_path / "grey.tif"), GREY_16)  # LZW, as OpenCV writes it
    cv2.imwrite(str(tmp_path / "colour.tif"), RGB_16[..., ::-1])
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 13
    upper = {"g": three(GREY_16 >> 8), "c": RGB_16 >> 8, "n": three(255 - (GREY_16 >> 8))}
    for path in paths:
        pixels = read_image(path).rgb
        assert pixels.dtype == np.uint8
        assert np.array_equal(pixels, upper[path.name[0]]), path.name


@pytest.mark.parametrize("factor", [256, 257])
def test_8_bits_that_were_stored_as_16_come_back(tmp_path: Path, factor: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), RGB[..., ::-1].astype(np.uint16) * factor)
    cv2.imwrite(str(tmp_path / "b.tif"), GREY.astype(np.uint16) * factor)
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, RGB)
    assert np.array_equal(read_image(tmp_path / "b.tif").rgb, three(GREY))


def test_16_bits_with_alpha(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([RGB_16[..., ::-1], ALPHA.astype(np.uint16) * 257]))
    expected = (RGB_16 >> 8).astype(np.uint8)
    expected[:, :20] = 0
    assert np.array_equal(read_image(tmp_path / "a.png").rgb, expected)


def test_numbers_that_are_not_of_8_or_16_bits_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "float.tif", GREY / np.float32(255))
    tifffile.imwrite(tmp_path / "32.tif", GREY.astype(np.int32))
    tifffile.imwrite(tmp_path / "signed.tif", GREY.astype(np.int16))
    for name in ("float", "32", "signed"):
        with pytest.raises(InputError, match="export 8 bits per channel"):
            read_image(tmp_path / f"{name}.tif")
    for name, pixels in {
        "12-grey.tif": GREY_16 >> 4,
        "12-grey.png": GREY_16 >> 4,
        "12-colour.png": RGB_16 >> 4,
    }.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        with pytest.raises(InputError, match=r"uses only the lowest 12; scale its values to 0 \.\.\. 65535"):
            read_image(tmp_path / name)
    planes = np.moveaxis(RGB_16, 2, 0)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match="stores its 16-bit channels as planes"):
        read_image(tmp_path / "planes.tif")
    tifffile.imwrite(tmp_path / "packed.tif", planes, photometric="rgb", planarconfig="separate", compression="zlib")
    assert np.array_equal(read_image(tmp_path / "packed.tif").rgb, RGB_16 >> 8)


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    even = np.full((20, 30, 3), (90, 40, 120), np.uint8)
    cases = [("CMYK", "a.tif", {}), ("CMYK", "a.jpg", {}), ("YCbCr", "lzw.tif", {"compression": "tiff_lzw"})]
    if int(version("pillow").split(".")[0]) >= 13:  # older ones refuse it: python-pillow/Pillow#9770
        cases.append(("YCbCr", "b.tif", {}))
    for mode, name, options in cases:
        Image.fromarray(even).convert(mode).save(tmp_path / name, **options)
        assert np.abs(read_image(tmp_path / name).rgb.astype(int) - even).max() <= 4


def test_of_several_pages_the_first_counts_and_a_rotation_is_not_carried_out(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([RGB, 255 - RGB, RGB]), photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "pages.tif").rgb, RGB)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png").rgb, RGB)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError) as raised:
        read_image(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_headers_never_end_in_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for suffix in (".bmp", ".png", ".jpg", ".tif", ".webp"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(RGB).save(path)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            damaged = content.copy()
            damaged[rng.integers(0, min(150, len(content)), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                assert read_image(path).rgb.shape[2] == 3
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("form", ["EPS", "GIF", "PDF", "PPM", "TGA", "ICO", "PCX"])
def test_only_the_promised_formats_are_opened_whatever_the_name(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.bmp", form)
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **_: started.append(command))
    with pytest.raises(InputError, match="is not an image that can be read"):
        read_image(tmp_path / "x.bmp")
    assert started == []


def png(pixels: np.ndarray, rows: int, colour: int = 2, bits: int = 8) -> bytes:
    """A PNG whose compressed stream is complete and holds the first rows of the image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    raw = b"".join(b"\0" + row.tobytes() for row in pixels[:rows])
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_half_a_png_in_a_complete_stream_is_refused(tmp_path: Path) -> None:
    (tmp_path / "whole.png").write_bytes(png(RGB, len(RGB)))
    assert np.array_equal(read_image(tmp_path / "whole.png").rgb, RGB)
    for rows in (1, len(RGB) // 2, len(RGB) - 1):
        (tmp_path / "half.png").write_bytes(png(RGB, rows))
        with pytest.raises(InputError, match=r"half\.png: cannot be read \(is incomplete: "):
            read_image(tmp_path / "half.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("side", [1, 5, 33])
def test_complete_pngs_of_every_kind_are_read(tmp_path: Path, mode: str, side: int) -> None:
    grey = Image.fromarray(RNG.integers(0, 65536, (side, side + 2)).astype(np.uint16))
    image = (
        grey if mode == "I;16" else Image.fromarray(RNG.integers(0, 256, (side, side + 2, 3), np.uint8)).convert(mode)
    )
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").rgb.shape == (side, side + 2, 3)


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "subsampled": {"subsampling": 2, "quality": 90},
    "full colour": {"subsampling": 0, "progressive": True, "quality": 95},
    "restarts": {"restart_marker_blocks": 3},
    "progressive restarts": {"restart_marker_rows": 1, "progressive": True},
    "optimized": {"optimize": True},
}


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_was_cut_off_and_got_an_end_marker_is_refused(tmp_path: Path, mode: str, kind: str) -> None:
    path = tmp_path / "a.jpg"
    y, x = np.mgrid[:93, :75]
    smooth = np.stack([x * 3, y * 2, x + y], 2).astype(np.uint8)
    smooth[30:60, 20:50] = RNG.integers(0, 256, (30, 30, 3))
    Image.fromarray(smooth).convert(mode).save(path, "JPEG", **JPEGS[kind])
    content = path.read_bytes()
    with Image.open(path) as image:
        assert np.array_equal(read_image(path).rgb, np.asarray(image.convert("RGB")))
    scan = content.index(b"\xff\xda")
    for kept in (0.1, 0.5, 0.9, 0.97):
        path.write_bytes(content[: scan + int(kept * (len(content) - scan))].rstrip(b"\xff") + b"\xff\xd9")
        with pytest.raises(InputError, match=r"a\.jpg: cannot be read \(.*; replace it$"):
            read_image(path)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, progressive=True)
    content = path.read_bytes()
    scans = [found.start() for found in re.finditer(b"\xff\xda", content)]
    assert len(scans) == 10
    for start in scans[1:]:
        path.write_bytes(content[:start] + b"\xff\xd9")
        with pytest.raises(InputError, match="is incomplete: ends before its last scan"):
            read_image(path)


def test_a_jpeg_without_huffman_tables_has_the_usual_ones(tmp_path: Path) -> None:
    """Single frames of a video (Motion JPEG) leave them out."""
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path)
    expected, content = read_image(path).rgb, path.read_bytes()
    while (table := content.find(b"\xff\xc4")) >= 0:
        content = content[:table] + content[table + 2 + int.from_bytes(content[table + 2 : table + 4]) :]
    path.write_bytes(content)
    assert np.array_equal(read_image(path).rgb, expected)


def test_an_empty_file_and_a_folder_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "empty.bmp").touch()
    (tmp_path / "folder.bmp").mkdir()
    for name, reason in {"empty": "is empty", "folder": "Is a directory", "missing": "No such file"}.items():
        with pytest.raises(InputError, match=reason):
            read_image(tmp_path / f"{name}.bmp")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has neither named pipes nor /dev/zero")
def test_a_pipe_and_a_device_are_refused_without_waiting_for_their_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bmp")
    (tmp_path / "zeros.bmp").symlink_to("/dev/zero")
    with interrupted_after(10):
        for name in ("pipe", "zeros"):
            with pytest.raises(InputError, match=r"\.bmp: cannot be read \(Not a regular file\)"):
                read_image(tmp_path / f"{name}.bmp")


@pytest.mark.parametrize("number", ["EIO", "EMFILE", "ENFILE", "ENOMEM", "ESTALE"])
def test_a_failure_of_the_surroundings_is_not_called_one_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(getattr(errno, number), "failed", "a.png")

    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match="failed"):
        read_image(tmp_path / "a.png")


def test_a_file_that_may_not_be_read_is_called_so(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    if os.access(tmp_path / "a.png", os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(InputError, match="Permission denied"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("side", [8193, 16000, 60000])
def test_an_image_too_large_for_one_cell_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = side.to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(content)
    assert side**2 > MAX_PIXELS
    with pytest.raises(InputError, match="crop it to one cell"):
        read_image(tmp_path / "a.bmp")


def test_a_large_image_is_refused_without_a_warning_and_without_a_filter_left_behind(tmp_path: Path) -> None:
    """Pillow warns about more than 89 million pixels; the limit here is lower."""
    Image.fromarray(RGB).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = (10_000).to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        with pytest.raises(InputError, match="has 10000 x 10000 px; crop it to one cell"):
            read_image(tmp_path / "a.bmp")
        assert warnings.filters == filters


def test_importing_the_reader_adds_no_warning_filter() -> None:
    program = """
import warnings
import cv2, joblib, numpy, tqdm, PIL.Image, PIL.TiffImagePlugin
filters, threads = list(warnings.filters), cv2.getNumThreads()
import leukobench.cells.fingerprints
assert warnings.filters == filters and cv2.getNumThreads() == threads
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_path_may_be_text(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert np.array_equal(read_image(str(tmp_path / "a.png")).rgb, RGB)
