"""One image file -> 8-bit RGB pixels, whatever the format; a file that is damaged is refused, never half read.

Pillow reads, because it refuses truncated files of every format, where OpenCV returns a JPEG that is half grey. What
is read are the pixels as they are stored: a rotation in the EXIF data is not carried out (a cell has no upright, and
offsets stay those of the file), colour profiles are not applied, and of several pages or frames the first counts.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from leukobench.core.errors import InputError

MAX_PIXELS = 8192 * 8192  # more is no picture of one cell
OPAQUE = 128  # of 255: a pixel of less than half opacity is transparent
FEWEST_LEVELS = 16  # of 256: a 16-bit image that has fewer after reduction holds the 12 bits of a camera, not scaled

# `_decode` has its own limit, below Pillow's; a filter for the length of one call would not be safe in threads
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """A decoded image file.

    Attributes:
        rgb: Pixels. [shape=(height, width, 3), uint8]
        lossy: Whether it was compressed with loss, so that a colour that was pure is pure no more.
    """

    rgb: np.ndarray
    lossy: bool


def read_image(path: Path) -> np.ndarray:
    """Read an image file as 8-bit RGB, transparent pixels black. [shape=(height, width, 3), uint8]

    Raises:
        InputError: see `read_picture`.
    """
    return read_picture(path).rgb


def read_picture(path: Path, *, transparent: int = 0) -> Picture:
    """Read an image file as 8-bit RGB.

    Of 16 bits the upper 8 are kept, which gives back exactly what was 8-bit before, scaled by 256 or by 257.

    Args:
        path: BMP, PNG, JPEG, TIFF or WebP; grey, colour or palette, 8 or 16 bits a channel.
        transparent: Value of all three channels where the image is transparent.

    Raises:
        InputError: the file is missing, truncated, no image that Pillow can read, too large for a picture of one cell,
            or holds what cannot be reduced to 8 bits (32 bits, floats, 12 bits stored as 16, planes of 16 bits).
    """
    try:
        with Image.open(path) as image:
            return _decode(image, path, transparent)
    except InputError:
        raise
    except UnidentifiedImageError:
        what = "is no image that can be read" if path.stat().st_size else "is empty"
        raise InputError(f"{path}: {what}; replace it") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: has more pixels than {MAX_PIXELS}; crop it to one cell") from None
    except Exception as error:  # a damaged header makes decoders raise nearly anything, and must cost its image only
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
        raise InputError(f"{path}: cannot be read ({' '.join(reason.split())}); replace it") from None


def _decode(image: Image.Image, path: Path, transparent: int) -> Picture:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"{path}: has {image.width} x {image.height} px; crop it to one cell")
    if _is_planar_16_bit(image):
        raise InputError(
            f"{path}: keeps its 16-bit channels in planes; save them interleaved, or with 8 bits a channel"
        )
    lossy, deep = _is_lossy(image, path), _is_16_bit(image)
    image.load()
    if image.mode[0] in "IF":
        if not deep:
            raise InputError(f"{path}: holds no whole numbers of 8 or 16 bits; export it with 8 bits a channel")
        rgb = np.repeat(_upper_byte(image)[..., None], 3, axis=2)
    elif image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        rgb = np.where(rgba[..., 3:] < OPAQUE, np.uint8(transparent), rgba[..., :3])
    else:
        rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if deep and 0 < rgb.max() < FEWEST_LEVELS:
        raise InputError(f"{path}: has 16 bits but uses the lowest 12 only; scale its values to 0 ... 65535")
    return Picture(rgb, lossy)


def _upper_byte(image: Image.Image) -> np.ndarray:
    """Return the upper 8 of a grey image's 16 bits, which Pillow's own conversion would clip to white."""
    grey = (np.asarray(image) >> 8).astype(np.uint8)
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(262) == 0  # PhotometricInterpretation
    return 255 - grey if white_is_zero else grey


def _is_16_bit(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet has 16 bits a channel in its file."""
    if image.format not in ("PNG", "TIFF") or not image.tile:
        return False
    arguments = image.tile[0][3]
    raw_mode = arguments if isinstance(arguments, str) else arguments[0]
    return re.search(";16[BLN]?$", raw_mode) is not None  # not S, which is signed


def _is_planar_16_bit(image: Image.Image) -> bool:
    """Whether an image is of the one kind that Pillow reads as noise: uncompressed planes of 16 bits in a TIFF."""
    if image.format != "TIFF" or not image.tile or image.tile[0][0] != "raw":
        return False
    return image.tag_v2.get(284) == 2 and 16 in image.tag_v2.get(258, ())  # PlanarConfiguration, BitsPerSample


def _is_lossy(image: Image.Image, path: Path) -> bool:
    if image.format == "WEBP":
        with open(path, "rb") as file:
            return b"VP8L" not in file.read(1 << 16)  # the lossless codec's chunk
    return image.format in ("JPEG", "MPO") or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
