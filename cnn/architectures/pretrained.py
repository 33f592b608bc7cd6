"""Pretrained weights: had, or an error that says how to get them. Never random ones in their place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leukobench.cnn.backend import keras
from leukobench.core.errors import InputError

_REMEDY = (
    "connect to the internet for --weights imagenet, or download the file without top that Keras Applications "
    "offers and name it: --weights PATH; --weights none trains from scratch, under a name that says so"
)


def with_weights(network: Callable[..., keras.Model], weights: str | None, **arguments: Any) -> keras.Model:
    """Build a network of Keras Applications with the weights that were asked for.

    Args:
        network: The function of `keras.applications`.
        weights: A file, "imagenet", or None for random ones.
        arguments: Passed on to `network`.

    Raises:
        InputError: the file is missing or does not fit, or the download failed.
    """
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise InputError(f"{weights}: no such file of weights; {_REMEDY}")
    try:
        # where a file lacks a layer Keras only warns, and goes on with random weights in it
        with warnings.catch_warnings(action="error", category=UserWarning):
            return network(weights=weights, **arguments)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        problem = "cannot be downloaded" if weights == "imagenet" else "do not fit the network or cannot be read"
        raise _unusable(network.__name__, weights, problem, error) from None
    except Exception as error:
        if weights == "imagenet" and "URL fetch failure" in str(error):  # keras raises a bare Exception here
            raise _unusable(network.__name__, weights, "cannot be downloaded", error) from None
        raise


def refuse_weights(network: str, weights: str | None) -> None:
    """Raise InputError where weights are asked for of a network that nobody has published any of."""
    if weights is not None:
        raise InputError(f"no pretrained weights of {network} exist: it is trained from scratch (--weights none)")


def _unusable(network: str, weights: str | None, problem: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{weights}: pretrained weights of {network} {problem} ({reason}); {_REMEDY}")
