"""One image file -> 8-bit RGB pixels, whatever the format; a damaged file is refused, never read in part.

The pixels of an uncompressed 24-bit BMP are used as they lie in the file. Pillow decodes all others, because it refuses
truncated files of every format, where OpenCV returns a half-grey JPEG. Pixels stay as they are stored: a rotation in
the EXIF data is ignored (a cell has no upright position, and offsets refer to the file), colour profiles are not
applied, and only the first of several pages or frames is read.
"""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
from dataclasses import dataclass
from typing import IO

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from leukobench.cells.completeness import refuse_incomplete_png
from leukobench.cells.jpeg import refuse_incomplete_jpeg
from leukobench.core.errors import InputError
from leukobench.core.opening import of_surroundings, open_regular

MAX_PIXELS = 8192 * 8192  # a larger image does not show one cell
OPAQUE = 128  # of 255: a pixel of less than half opacity is transparent
FORMATS = ("BMP", "PNG", "JPEG", "TIFF", "WEBP")  # Pillow would start Ghostscript for a PostScript file, of any name
FEWEST_LEVELS = 16  # of 256: a 16-bit image with fewer after reduction holds unscaled 12-bit values of a camera

_BITMAP = struct.Struct("<2s8xIIiiHHI20x")  # signature, start of the pixels, and the first half of BITMAPINFOHEADER

_opening = threading.Lock()  # warning filters belong to the process: threads change them in turn


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image file.

    Attributes:
        rgb: Pixels, 0 to 255; of a bitmap a view of the file's bytes, see `contiguous`.
            [shape=(height, width, 3), uint8]
        lossy: Whether the file has lossy compression, so that pure colours are no longer pure.
    """

    rgb: np.ndarray
    lossy: bool


def read_image(path: str | os.PathLike[str], *, transparent: int = 0) -> DecodedImage:
    """Read an image file as 8-bit RGB.

    Of 16 bits the upper 8 are kept, which restores 8-bit values that were scaled by 256 or 257.

    Args:
        path: BMP, PNG, JPEG, TIFF or WebP; grey, colour or palette; 8 or 16 bits per channel.
        transparent: Value of all three channels where the image is transparent, 0 to 255.

    Raises:
        InputError: the file is missing, truncated, no regular file, not an image that Pillow can read, too large for an
            image of one cell, or cannot be reduced to 8 bits (32-bit or floating-point values, 12 bits stored as 16,
            16-bit planes).
        OSError, MemoryError: the disk, the memory or the number of open files failed, not the image.
    """
    name = os.fspath(path)
    try:
        with open_regular(name) as file:
            bitmap = _read_bitmap(file)
            if bitmap is not None:
                return DecodedImage(bitmap, lossy=False)
            file.seek(0)
            with io.BufferedReader(file) as buffered, _opened(buffered) as image:
                return _decode(image, buffered, name, transparent)
    except InputError:
        raise
    except UnidentifiedImageError:
        what = "is not an image that can be read" if os.path.getsize(name) else "is empty"
        raise InputError(f"{name}: {what}; replace it") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: has more pixels than {MAX_PIXELS}; crop it to one cell") from None
    except Exception as error:  # a damaged header makes decoders raise nearly anything
        if of_surroundings(error):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise InputError(f"{name}: cannot be read ({' '.join(reason.split())}); replace it") from None


def contiguous(rgb: np.ndarray) -> np.ndarray:
    """Return pixels in C order; bottom-up rows of blue, green, red are copied by OpenCV, much faster than by NumPy."""
    if rgb.strides[0] < 0 and rgb.strides[2] < 0:
        return np.asarray(cv2.flip(cv2.cvtColor(rgb[::-1, :, ::-1], cv2.COLOR_BGR2RGB), 0))
    return np.ascontiguousarray(rgb)


def _read_bitmap(file: io.FileIO) -> np.ndarray | None:
    """Return the pixels of an uncompressed 24-bit BMP that is complete, None for every other file.

    Its rows lie from the bottom up, each padded to a multiple of 4 bytes, with blue before green and red.
    """
    header = file.read(_BITMAP.size)
    if len(header) < _BITMAP.size:
        return None
    signature, start, header_size, width, height, planes, bits, compression = _BITMAP.unpack(header)
    if (signature, header_size, planes, bits, compression) != (b"BM", 40, 1, 24, 0) or start < _BITMAP.size:
        return None
    stride = (3 * width + 3) // 4 * 4
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        return None
    if os.fstat(file.fileno()).st_size < start + stride * height:
        return None
    file.seek(start)
    pixels = file.read(stride * height)
    if len(pixels) < stride * height:  # truncated in the meantime
        return None
    return np.ndarray((height, width, 3), np.uint8, pixels, 0, (stride, 3, 1))[::-1, :, ::-1]


def _opened(file: IO[bytes]) -> ImageFile:
    """Open an image without Pillow's warning about its size: `_decode` has a lower limit of its own."""
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=FORMATS)


def _decode(image: ImageFile, file: IO[bytes], name: str, transparent: int) -> DecodedImage:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{name}: has {image.width} x {image.height} px; crop it to one cell")
    if _is_planar_16_bit(image):
        raise InputError(
            f"{name}: stores its 16-bit channels as planes; save them interleaved, or with 8 bits per channel"
        )
    if image.format == "PNG":
        refuse_incomplete_png(file)
    elif image.format in ("JPEG", "MPO"):
        refuse_incomplete_jpeg(file)
    lossy, deep = _is_lossy(image, file), _is_16_bit(image)
    image.load()
    if image.mode[0] in "IF":
        if not deep:
            raise InputError(f"{name}: has values that are not 8-bit or 16-bit integers; export 8 bits per channel")
        rgb = np.repeat(_upper_byte(image)[..., None], 3, axis=2)
    elif image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        rgb = np.where(rgba[..., 3:] < OPAQUE, np.uint8(transparent), rgba[..., :3])
    else:
        rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if deep and 0 < rgb.max() < FEWEST_LEVELS:
        raise InputError(f"{name}: has 16 bits but uses only the lowest 12; scale its values to 0 ... 65535")
    return DecodedImage(rgb, lossy)


def _upper_byte(image: ImageFile) -> np.ndarray:
    """Return the upper 8 of a grey image's 16 bits; Pillow's own conversion would clip them to white."""
    grey = (np.asarray(image) >> 8).astype(np.uint8)
    white_is_zero = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0
    return 255 - grey if white_is_zero else grey  # tag 262 is PhotometricInterpretation


def _is_16_bit(image: ImageFile) -> bool:
    """Whether the file of an image that is not loaded yet has 16 bits per channel."""
    if image.format not in ("PNG", "TIFF") or not image.tile:
        return False
    arguments = image.tile[0][3]
    raw_mode = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
    return re.search(";16[BLN]?$", raw_mode) is not None  # not S, which is signed


def _is_planar_16_bit(image: ImageFile) -> bool:
    """Whether an image is an uncompressed TIFF of 16-bit planes, the one kind that Pillow misreads as noise."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not image.tile or image.tile[0][0] != "raw":
        return False
    return image.tag_v2.get(284) == 2 and 16 in image.tag_v2.get(258, ())  # PlanarConfiguration, BitsPerSample


def _is_lossy(image: ImageFile, file: IO[bytes]) -> bool:
    if image.format == "WEBP":
        file.seek(0)
        return b"VP8L" not in file.read(1 << 16)  # the chunk of the lossless codec
    return image.format in ("JPEG", "MPO") or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
