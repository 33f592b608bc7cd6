"""Photographs of smears -> masks of their white cells, a table of their places, and a sheet to check them by eye."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath, PurePosixPath

import cv2
import numpy as np
import pandas as pd
from joblib import delayed
from PIL import Image

import leukobench
from leukobench.cells.cell import decode_on
from leukobench.cells.threads import one_opencv_thread
from leukobench.cells.white_cell import segment_white_cell, segment_white_cells
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, whole_folder, write_csv
from leukobench.core.pages import guarded, page_templates
from leukobench.core.processes import in_processes
from leukobench.core.progress import ProgressBar
from leukobench.core.text import counted, printable
from leukobench.results.failures import write_failures
from leukobench.workflows.contact_sheet import MOST, as_jpeg
from leukobench.workflows.image_sources import ImageSources, image_sources

LOG = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]
SEGMENTS = ("cell", "nucleus")
TABLE, PAGE = "cells.csv", "overlay.html"
MARGIN = 8  # px of black around a cell that was cut out, so that it is not taken for an image without background
VIEW = 0.35  # of the larger side of a cell: what the sheet shows around it
SIDE = 232  # px, of a picture on the sheet
CELL_LINE, NUCLEUS_LINE = (0, 158, 115), (240, 228, 66)  # RGB
UNUSUAL = 2.0  # a cell is unusual if its area is this many times the median, or smaller by this factor
RAGGED = 0.85  # solidity (area / area of the convex hull) below which an outline is ragged
BARE = 0.97  # of a cell's area: a larger nucleus leaves no cytoplasm


@dataclass(frozen=True)
class _Row:
    """A row of the table of cells; areas, places and sides in px, from the top left corner of the image."""

    path: str
    cell: int
    left: int
    top: int
    width: int
    height: int
    x: float
    y: float
    cell_area: int
    nucleus_area: int
    solidity: float
    touches_border: bool
    others: int
    mask: str
    cut_out: str


COLUMNS = (*(field.name for field in fields(_Row)), "doubts")


def segment_images(
    images: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    segment: str = "cell",
    all_cells: bool = False,
    most: int = MOST,
    jobs: int = 1,
) -> pd.DataFrame:
    """Segment the white cells of photographs of smears, and write masks, a table, and a sheet to check them by eye.

    The folder `out` is written completely or not at all. It has

    - `masks/`, a PNG for each image, of its size: 255 in the cell (or nucleus), 0 elsewhere;
    - `cells.csv`, the table that is returned;
    - `overlay.html`, the outlines of cell and nucleus on each image, those with most reasons for doubt first;
    - `cut_out/`, with `all_cells`: each cell on black, for `index_folder` and `predict`;
    - `cells.csv.failures.csv`, if images failed: their paths and the reasons.

    Args:
        images: A folder, searched with its subfolders; or several folders, images, and lists of images, see
            `leukobench.workflows.image_sources.image_sources`.
        out: Folder to write.
        segment: `"cell"` for masks of the whole cell, `"nucleus"` for masks of its nucleus.
        all_cells: Whether all white cells of an image are segmented, and cut out, or the most central one only.
        most: Largest number of cells on the sheet.
        jobs: Number of parallel processes.

    Returns:
        One row a cell: `path`, `cell` (its number in the image), its bounding box `left`, `top`, `width`, `height` and
        centroid `x`, `y` (px; of the whole cell, from the top left corner), `cell_area`, `nucleus_area` (px^2),
        `solidity` (area / area of the convex hull), `touches_border`, `others` (how many other nuclei
        the image has, or other cells with `all_cells`), `mask` and `cut_out` (files in `out`; cut_out is
        empty without `all_cells`), and `doubts`: reasons to look at the cell, empty if there is none.
        `attrs["failures"]` maps the path of each image that failed to the reason.

    Raises:
        InputError: there is no such segment, `out` exists, there is no image, a name cannot be written in a table, or
            no cell was found in any image.

    Source: see `leukobench.cells.white_cell.segment_white_cell`.

    Example:
        >>> import cv2
        >>> import numpy as np
        >>> import leukobench as lb
        >>> smear = np.full((200, 200, 3), (202, 228, 250), np.uint8)  # OpenCV writes blue, green, red
        >>> smear = cv2.circle(smear, (100, 90), 45, (190, 180, 200), cv2.FILLED)
        >>> smear = cv2.circle(smear, (100, 90), 28, (140, 55, 95), cv2.FILLED)
        >>> written = cv2.imwrite("smear.png", smear)
        >>> cells = lb.segment_images(["smear.png"], "segmented")
        >>> cells[["path", "cell", "touches_border", "mask"]].values.tolist()
        [['smear.png', 1, False, 'masks/smear.png']]
        >>> bool(abs(cells["cell_area"][0] / (np.pi * 45**2) - 1) < 0.05)
        True
    """
    out = Path(out)
    if segment not in SEGMENTS:
        raise InputError(f"no segment {segment!r}; there is {' and '.join(SEGMENTS)}")
    refuse_existing(out)
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    sources = image_sources(given)
    targets = _targets(sources)
    rows: list[_Row] = []
    pictures: list[bytes] = []
    failed: dict[str, str] = {}
    with only_writer(out), whole_folder(out) as partial:
        calls = (
            delayed(_segmented)(file, name, target, partial, segment, all_cells)
            for file, name, target in zip(sources.files, sources.names, targets, strict=True)
        )
        progress = ProgressBar(LOG, in_processes(calls, jobs), desc="segmenting", total=len(targets), unit="image")
        for name, result in zip(sources.names, progress, strict=True):
            if isinstance(result, str):
                failed[name] = result
            else:
                rows += [row for row, _ in result]
                pictures += [picture for _, picture in result]
        if not rows:
            path, reason = next(iter(failed.items()))
            raise InputError(f"none of {counted(len(failed), 'image')} could be segmented; the first: {path}: {reason}")
        table = pd.DataFrame(map(asdict, rows))
        table["doubts"] = _doubts(table, all_cells)
        table.attrs["failures"] = failed
        write_failures(failed, partial / TABLE)
        write_csv(table, partial / TABLE)
        (partial / PAGE).write_text(_page(table, pictures, failed, segment, most), encoding="utf-8")
    return table


def _targets(sources: ImageSources) -> list[str]:
    """Return the path of each mask below its folder: that of the image, whose suffix stays only where needed."""
    for name in sources.names:
        if printable(name) != name:
            raise InputError(f"{name}: its name cannot be written in a table; rename the file")
    names = [PurePath(os.path.abspath(file)) for file in sources.files]
    try:
        base = os.path.commonpath([name.parent for name in names])
    except ValueError:
        raise InputError("images: are on several drives; segment those of each drive on their own") from None
    relative = [PurePosixPath(name.relative_to(base).as_posix()) for name in names]
    shared = Counter(path.with_suffix("").as_posix().lower() for path in relative)  # a.bmp and a.png, or A.png
    stems = [path.with_suffix("").as_posix() for path in relative]
    return [f"{path if shared[stem.lower()] > 1 else stem}.png" for path, stem in zip(relative, stems, strict=True)]


def _segmented(
    file: str, name: str, target: str, out: Path, segment: str, all_cells: bool
) -> list[tuple[_Row, bytes]] | str:
    """Segment an image and write its masks; return the row and the picture of each cell, or why it failed."""
    with one_opencv_thread():
        try:
            rgb = np.ascontiguousarray(decode_on(file, "smear-cell").rgb)
            if all_cells:
                cells = segment_white_cells(rgb, file)
                others = len(cells) - 1
            else:
                whole, inner, objects = segment_white_cell(rgb, file)
                cells, others = [(whole, inner)], objects - 1
        except InputError as error:
            return str(error).removeprefix(f"{file}: ")
        chosen = [cell if segment == "cell" else nucleus for cell, nucleus in cells]
        _write_png(np.maximum.reduce(chosen), out / "masks" / target)
        result = []
        for number, ((cell, nucleus), mask) in enumerate(zip(cells, chosen, strict=True), 1):
            cut_out = f"cut_out/{target.removesuffix('.png')}_{number}.png" if all_cells else ""
            if cut_out:
                _write_png(_on_black(rgb, mask), out / cut_out)
            row = _row(name, number, cell, nucleus, others, f"masks/{target}", cut_out)
            result.append((row, _picture(rgb, cell, nucleus)))
        return result


def _row(name: str, number: int, cell: np.ndarray, nucleus: np.ndarray, others: int, mask: str, cut_out: str) -> _Row:
    left, top, width, height = cv2.boundingRect(cell)
    rows, columns = np.nonzero(cell)
    hull = np.zeros_like(cell)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32)), (1,))
    border = bool(cell[[0, -1]].any() or cell[:, [0, -1]].any())
    return _Row(
        path=name, cell=number, left=left, top=top, width=width, height=height,
        x=round(float(columns.mean()), 1), y=round(float(rows.mean()), 1),
        cell_area=len(rows), nucleus_area=int(np.count_nonzero(nucleus)),
        solidity=round(len(rows) / int(hull.sum()), 3), touches_border=border,
        others=others, mask=mask, cut_out=cut_out,
    )  # fmt: skip


def _doubts(table: pd.DataFrame, all_cells: bool) -> list[str]:
    """Return the reasons to look at each cell, joined by semicolons."""
    reasons = {
        "touches the border": table["touches_border"],
        "ragged outline": table["solidity"] < RAGGED,
        "no cytoplasm": table["nucleus_area"] > BARE * table["cell_area"],
        "unusually large": table["cell_area"] > UNUSUAL * table["cell_area"].median(),
        "unusually small": table["cell_area"] < table["cell_area"].median() / UNUSUAL,
    }
    if not all_cells:
        reasons["other nuclei"] = table["others"] > 0
    found = pd.DataFrame(reasons)
    return ["; ".join(found.columns[row]) for row in found.to_numpy(bool)]


def _on_black(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask on pure black, which no pixel of the mask has."""
    left, top, width, height = cv2.boundingRect(mask)
    window = (slice(top, top + height), slice(left, left + width))
    pixels = rgb[window].copy()
    pixels[~pixels.any(axis=2)] = 1
    pixels[mask[window] == 0] = 0
    return np.pad(pixels, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))


def _picture(rgb: np.ndarray, cell: np.ndarray, nucleus: np.ndarray) -> bytes:
    """Return the surroundings of a cell with the outlines of cell and nucleus, as a small JPEG."""
    left, top, width, height = cv2.boundingRect(cell)
    around = int(VIEW * max(width, height)) + 1
    window = (slice(max(0, top - around), top + height + around), slice(max(0, left - around), left + width + around))
    view = rgb[window]
    scale = SIDE / max(view.shape[:2])
    size = (max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale)))
    picture = np.ascontiguousarray(
        cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    )
    for mask, colour, dotted in ((cell, CELL_LINE, False), (nucleus, NUCLEUS_LINE, True)):
        enlarged = cv2.resize(np.ascontiguousarray(mask[window]), size, interpolation=cv2.INTER_LINEAR)
        contours = cv2.findContours((enlarged > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        for points in contours:
            for x, y in points[:: 5 if dotted else 1, 0]:
                cv2.circle(picture, (int(x), int(y)), 1, colour, cv2.FILLED)
    return as_jpeg(Image.fromarray(picture))


def _page(table: pd.DataFrame, pictures: Sequence[bytes], failed: Mapping[str, str], segment: str, most: int) -> str:
    cells = [{**row, "picture": pictures[number]} for number, row in _doubtful_first(table, most)]
    template = page_templates("leukobench.workflows").get_template("segmentation.html.jinja")
    return guarded(
        template.render(cells=cells, total=len(table), failed=failed, segment=segment, version=leukobench.__version__)
    )


def _doubtful_first(table: pd.DataFrame, most: int) -> Iterable[tuple[int, dict[str, object]]]:
    """Return the position and the values of the first cells: by the number of doubts, then the least solid ones."""
    reasons = table["doubts"].str.count(";") + (table["doubts"] != "")
    order = np.lexsort([table["solidity"], -reasons])[:most]
    records = table.to_dict("records")
    return [(int(i), {str(key): value for key, value in records[i].items()}) for i in order]


def _write_png(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, "png")
