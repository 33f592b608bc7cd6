"""Pretrained weights, or an error that says how to get them; never random weights in their place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leukobench.cnn.backend import keras
from leukobench.core.errors import InputError

_REMEDY = (
    "connect to the internet to download the ImageNet weights (imagenet), or name a file of the weights without top "
    "from Keras Applications; the weights none train from scratch"
)


def with_weights(network: Callable[..., keras.Model], weights: str | None, **arguments: Any) -> keras.Model:
    """Build a network of Keras Applications with given weights.

    Args:
        network: The function of `keras.applications`.
        weights: A file, "imagenet", or None for random ones.
        arguments: Passed on to `network`.

    Raises:
        InputError: the file is missing or does not fit, or the download failed.
    """
    refuse_missing_weights(weights)
    try:
        # if a file lacks a layer, Keras only warns, and leaves random weights in it
        with warnings.catch_warnings(action="error", category=UserWarning):
            return network(weights=weights, **arguments)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        problem = "cannot be downloaded" if weights == "imagenet" else "do not fit the network or cannot be read"
        raise _unusable(network.__name__, weights, problem, error) from None
    except Exception as error:
        if weights == "imagenet" and "URL fetch failure" in str(error):  # keras raises a bare Exception here
            raise _unusable(network.__name__, weights, "cannot be downloaded", error) from None
        raise


def refuse_missing_weights(weights: str | None) -> None:
    """Raise InputError if weights are a file that does not exist."""
    if weights is not None and weights != "imagenet" and not Path(weights).is_file():
        raise InputError(f"{weights}: no such file of weights; {_REMEDY}")


def refuse_weights(network: str, weights: str | None) -> None:
    """Raise InputError if weights are given for a network without published weights."""
    if weights is not None:
        raise InputError(f"no pretrained weights of {network} exist; choose the weights none to train from scratch")


def _unusable(network: str, weights: str | None, problem: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{weights}: pretrained weights of {network} {problem} ({reason}); {_REMEDY}")
