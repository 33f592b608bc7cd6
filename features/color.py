"""Colour features: the distribution of the colour channels inside the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.features.distribution import PERCENTILES, moments_of, percentiles_of
from leukobench.features.prepared import PreparedCell

UNITS = {
    "red": "grey levels",
    "green": "grey levels",
    "blue": "grey levels",
    "hue": "degrees",
    "saturation": "1",
    "value": "1",
    "lightness": "L*",
    "a": "a*",
    "b": "b*",
    "grey": "grey levels",
}
_BYTE = np.arange(256.0)
_SCALES = {
    "hue": _BYTE * 360 / 256,
    "saturation": _BYTE / 255,
    "value": _BYTE / 255,
    "lightness": _BYTE * 100 / 255,
    "a": _BYTE - 128,
    "b": _BYTE - 128,
}
_UNIT_VECTORS = np.exp(1j * np.radians(_SCALES["hue"]))


def mean_color(cell: PreparedCell) -> dict[str, float]:
    """Compute the mean colour of a cell.

    `color_mean_red`, `_green` and `_blue` are the means of the channels over the mask; `color_mean` is the mean of the
    three (the "mean colour value" of Patel & Mishra 2015). Unit: grey levels, 0 to 255.
    """
    red, green, blue = cv2.mean(cell.cell.rgb, cell.mask)[:3]
    return {
        "color_mean_red": red,
        "color_mean_green": green,
        "color_mean_blue": blue,
        "color_mean": (red + green + blue) / 3,
    }


def channel_distribution(cell: PreparedCell, channel: str) -> dict[str, float]:
    """Compute mean, standard deviation, skewness, kurtosis and percentiles of a channel over the cell.

    `color_{mean,std,skewness,kurtosis,p10,p25,p50,p75,p90}_{channel}`. RGB and grey in grey levels, 0 to 255; hue in
    degrees, saturation and value 0 to 1 (HSV); L* 0 to 100, a* and b* (CIE Lab, D65). All are computed from 8-bit
    values, as OpenCV rounds them. A hue is an angle: its mean is the direction of the mean of the unit vectors. The
    other hue features use angles within 180 degrees of this mean, so that percentiles may be below 0 or above 360. A
    pixel without colour has hue 0. Skewness and kurtosis of a constant channel are 0.
    """
    values, counts = _SCALES.get(channel, _BYTE), cell.histogram(channel)
    circular_mean = 0.0
    if channel == "hue":
        circular_mean = _circular_mean(counts)
        values, counts = _unrolled(circular_mean, counts)
    moments = moments_of(values, counts)
    described = {
        "mean": moments.mean,
        "std": moments.deviation,
        "skewness": moments.skewness,
        "kurtosis": moments.kurtosis,
    } | {f"p{at}": value for at, value in zip(PERCENTILES, percentiles_of(values, counts), strict=True)}
    if channel == "hue":
        described["mean"] = circular_mean
    return {f"color_{name}_{channel}": value for name, value in described.items()}


def _circular_mean(counts: np.ndarray) -> float:
    """Return the direction of the sum of the unit vectors of hues, degrees in [0, 360). [shape=(256,)]"""
    return float(np.degrees(np.angle(counts @ _UNIT_VECTORS)) % 360)


def _unrolled(mean: float, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the circle of hues opposite their mean, and return the ascending angles from there, with their counts."""
    unrolled = mean + (_SCALES["hue"] - mean + 180) % 360 - 180
    first = int(unrolled.argmin())  # hues ascend from there on, around the circle
    return np.roll(unrolled, -first), np.roll(counts, -first)
