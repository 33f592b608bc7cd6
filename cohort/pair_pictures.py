"""Draw the two cells of a pair in the same position, size and orientation, to be compared by eye."""

from __future__ import annotations

import os

import cv2
import numpy as np

from leukobench.cells.cell import BACKGROUNDS, Cell, read_cell
from leukobench.cells.fingerprints import SIDE, standard_frame, texture
from leukobench.cells.threads import one_opencv_thread
from leukobench.cohort.near_duplicates import align
from leukobench.core.errors import InputError

WIDTH = 224  # px, of a picture
_QUALITY = 90  # of 100
_BRIGHTEST = 235  # of 255; the 99th percentile of the largest channel becomes this


def draw_pair(
    first: str | os.PathLike[str], second: str | os.PathLike[str], background: str = BACKGROUNDS[0]
) -> tuple[bytes, bytes] | None:
    """Draw two cells: the first as it is, the second registered with it; each is brightened, as cells are dark.

    Args:
        first: Image of the first cell.
        second: Image of the second cell.
        background: What surrounds the cell, see `read_cell`.

    Returns:
        Two JPEG pictures of 224 x 224 px; None if one of the files cannot be read or shows no cell.
    """
    try:
        with one_opencv_thread():
            return _draw(read_cell(first, background), read_cell(second, background))
    except InputError:
        return None


def _draw(first: Cell, second: Cell) -> tuple[bytes, bytes]:
    shift, turn = np.eye(3), np.eye(3)
    textures = [texture(cell) for cell in (first, second)]
    if textures[0] is not None and textures[1] is not None:
        found = align(textures[0], textures[1])
        along = np.exp(found.log_scale[0]) * np.cos(found.angle[0])
        across = np.exp(found.log_scale[0]) * np.sin(found.angle[0])
        turn = np.array([[along, -across, found.right[0]], [across, along, found.down[0]], [0, 0, 1]])
        if found.mirrored[0]:
            turn = np.diag([-1.0, 1.0, 1.0]) @ turn
    return _jpeg(first, shift), _jpeg(second, turn)


def _jpeg(cell: Cell, transform: np.ndarray) -> bytes:
    """Draw a cell: pixel -> px of the texture from its middle -> transformed -> px of the cell's crop."""
    scale, row, column = standard_frame(cell)
    zoom, middle = SIDE / WIDTH, (WIDTH - 1) / 2
    from_picture = np.array([[zoom, 0, -zoom * middle], [0, zoom, -zoom * middle], [0, 0, 1]])
    to_crop = np.array([[1 / scale, 0, column], [0, 1 / scale, row], [0, 0, 1]])
    matrix = (to_crop @ transform @ from_picture)[:2]
    drawn = cv2.warpAffine(cell.rgb, matrix, (WIDTH, WIDTH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = drawn.max(axis=2) > 0
    if inside.any():
        drawn = cv2.convertScaleAbs(drawn, alpha=_BRIGHTEST / np.percentile(drawn.max(axis=2)[inside], 99))
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return encoded.tobytes()
