"""Intermediate results that features share: channels, histograms, grey levels, contour, hull, moments."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from leukobench.cells.cell import Cell, cut_out
from leukobench.core.compiled import compiled
from leukobench.core.errors import InputError
from leukobench.features.settings import MeasurementSettings
from leukobench.features.stain import normalised

_CORNERS = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], np.float32)
_SPACES = {  # how OpenCV converts RGB, and the place of the channel there
    "grey": (cv2.COLOR_RGB2GRAY, 0),
    "red": (None, 0),
    "green": (None, 1),
    "blue": (None, 2),
    "hue": (cv2.COLOR_RGB2HSV_FULL, 0),
    "saturation": (cv2.COLOR_RGB2HSV_FULL, 1),
    "value": (cv2.COLOR_RGB2HSV_FULL, 2),
    "lightness": (cv2.COLOR_RGB2Lab, 0),
    "a": (cv2.COLOR_RGB2Lab, 1),
    "b": (cv2.COLOR_RGB2Lab, 2),
}


class PreparedCell:
    """A cell with the settings of its measurement, and intermediate results, computed at first access.

    Attributes:
        cell: The cell, scaled and stain-normalised as set.
        settings: How it is measured.
        mask: 1 inside the cell. [shape=(height, width), uint8]
    """

    def __init__(self, cell: Cell, settings: MeasurementSettings) -> None:
        """Scale the cell and normalise its stain as set."""
        if settings.size is not None:
            cell = scaled(cell, settings.size)
        self.cell = cell if settings.stain == "none" else normalised(cell, settings.stain)
        self.settings = settings
        self.mask = self.cell.mask.view(np.uint8)
        self._channels: dict[str, np.ndarray] = {}
        self._histograms: dict[int | None, np.ndarray] = {}

    def channel(self, name: str) -> np.ndarray:
        """Return a channel (see `features.settings.CHANNELS`), 0 outside the cell. [shape=(height, width), uint8]

        Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Hue is in steps of 360/256 degrees; CIE Lab (D65) has
        L * 255 / 100, a + 128 and b + 128, as OpenCV writes them.
        """
        if name not in self._channels:
            code, place = _SPACES[name]
            converted = self.cell.rgb if code is None else cv2.cvtColor(self.cell.rgb, code)
            if converted.ndim == 3:
                converted = cv2.copyTo(cv2.extractChannel(converted, place), self.mask)
            self._channels[name] = np.asarray(converted)
        return self._channels[name]

    def histogram(self, name: str) -> np.ndarray:
        """Return the histogram of a channel's 8-bit values inside the cell. [shape=(256,)]"""
        code, place = _SPACES[name]
        if code not in self._histograms:
            converted = self.pixels if code is None else np.asarray(cv2.cvtColor(self.pixels, code))
            self._histograms[code] = histograms_of(converted.reshape(self.area, -1))
        return self._histograms[code][place]

    @cached_property
    def pixels(self) -> np.ndarray:
        """The pixels of the cell alone, one row. [shape=(1, area, 3), uint8]"""
        return pixels_inside(self.cell.rgb, self.mask, self.area)

    @property
    def intensity(self) -> np.ndarray:
        """The channel of texture and statistical features. [shape=(height, width), uint8]"""
        return self.channel(self.settings.channel)

    @cached_property
    def levels(self) -> np.ndarray:
        """The intensity quantised to grey levels 0 ... `settings.levels` - 1. [shape=(height, width), uint16]

        The background has the level `settings.levels`.
        """
        levels = self.settings.levels
        if self.settings.quantisation == "fixed":
            table = np.arange(256) * levels // 256
        else:
            seen = np.flatnonzero(self.histogram(self.settings.channel))
            reach = max(1, seen[-1] - seen[0])
            table = np.clip((np.arange(256) - seen[0]) * levels // reach, 0, levels - 1)
        return quantised(self.intensity, self.mask, table, levels)

    @cached_property
    def area(self) -> int:
        """Number of pixels of the cell."""
        return cv2.countNonZero(self.mask)

    @cached_property
    def contour(self) -> np.ndarray:
        """The outer contour of the cell: its pixels in order, x before y. [shape=(n, 1, 2), int32]"""
        contours = cv2.findContours(self.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        return max(contours, key=len)

    @cached_property
    def hull_corners(self) -> np.ndarray:
        """Indices of the pixels of the contour that are corners of its convex hull. [shape=(n, 1), int32]"""
        return cv2.convexHull(self.contour, returnPoints=False)

    @cached_property
    def hull(self) -> np.ndarray:
        """The convex hull of the pixel squares: its corners in order, x before y. [shape=(n, 1, 2), float32]"""
        corners = self.contour[self.hull_corners.ravel()].astype(np.float32)
        return cv2.convexHull((corners + _CORNERS).reshape(-1, 1, 2))

    @cached_property
    def moments(self) -> dict[str, float]:
        """The moments of the mask, with a weight of 1 per pixel, by OpenCV's names (m10, mu20, nu20, ...)."""
        return cv2.moments(self.mask)  # of zeros and ones: same as with binaryImage, but faster

    @cached_property
    def centroid(self) -> np.ndarray:
        """The centroid of the mask, x before y, px. [shape=(2,)]"""
        return np.array([self.moments["m10"], self.moments["m01"]]) / self.area

    @cached_property
    def covariance(self) -> np.ndarray:
        """The covariance of the pixel squares, px^2, including the variance 1/12 of a unit square. [shape=(2, 2)]"""
        across = self.moments["mu11"]
        matrix = np.array([[self.moments["mu20"], across], [across, self.moments["mu02"]]])
        return matrix / self.area + np.eye(2) / 12


@compiled
def pixels_inside(rgb: np.ndarray, mask: np.ndarray, area: int) -> np.ndarray:
    """Return the pixels inside a mask of `area` pixels, row by row. [shape=(1, area, 3), uint8]"""
    pixels = np.empty((1, area, 3), np.uint8)
    place = 0
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            if mask[row, column]:
                for channel in range(3):
                    pixels[0, place, channel] = rgb[row, column, channel]
                place += 1
    return pixels


@compiled
def histograms_of(pixels: np.ndarray) -> np.ndarray:
    """Count the values of each channel. [shape=(channels, 256), float64]

    Neighbouring pixels count in turn in four histograms: if they are equal, none waits for the one before.

    Args:
        pixels: [shape=(pixels, channels), uint8]
    """
    number, channels = pixels.shape
    counts = np.zeros((channels, 4, 256), np.int64)
    for i in range(number):
        for channel in range(channels):
            counts[channel, i % 4, pixels[i, channel]] += 1
    return counts.sum(axis=1).astype(np.float64)


@compiled
def quantised(intensity: np.ndarray, mask: np.ndarray, table: np.ndarray, outside: int) -> np.ndarray:
    """Map the values inside a mask by a table; pixels outside become `outside`. [shape=(height, width), uint16]"""
    levels = np.empty(intensity.shape, np.uint16)
    for row in range(intensity.shape[0]):
        for column in range(intensity.shape[1]):
            levels[row, column] = table[intensity[row, column]] if mask[row, column] else outside
    return levels


@compiled
def extent(row: np.ndarray) -> tuple[int, int]:
    """Return the first and the last nonzero column; (0, -1) if there is none."""
    first, last = 0, -1
    for column in range(len(row)):
        if row[column]:
            if last < 0:
                first = column
            last = column
    return first, last


def scaled(cell: Cell, size: int) -> Cell:
    """Scale a cell so that the longer side of its whole image becomes `size` px.

    A pixel of the scaled image belongs to the cell if the cell covers at least half of it. It has the mean colour of
    that part; the black background is not mixed in.

    Raises:
        InputError: nothing is left of the cell.
    """
    height, width = cell.image_shape
    factor = size / max(height, width)
    layers = np.zeros((height, width, 4), np.float32)
    window = layers[cell.offset[0] :, cell.offset[1] :][: cell.mask.shape[0], : cell.mask.shape[1]]
    window[..., :3], window[..., 3] = cell.rgb, cell.mask
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(layers, shape[::-1], interpolation=interpolation))
    covered = resized[..., 3] >= 0.5
    if not covered.any():
        raise InputError(f"nothing is left of a cell of {cell.mask.sum()} pixels at {size} px; choose a larger size")
    colors = np.zeros((*shape, 3), np.uint8)
    colors[covered] = np.rint(resized[covered, :3] / resized[covered, 3:])
    return cut_out(colors, covered.view(np.uint8))
