"""The devices that compute, their precision, and what to do if their memory is too small."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leukobench.cnn.backend import keras
from leukobench.cnn.cache import cache_folder
from leukobench.core.errors import InputError

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "float32", "mixed")
COMPILED = "compiled"  # part of the cache: networks that JAX has compiled for a GPU
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|OOM when allocating|[Oo]ut of memory|Unable to allocate")


def choose_devices(device: str) -> list[str]:
    """Return the devices that compute, such as `["gpu:0"]`.

    Args:
        device: One of `DEVICES`; `auto`: the GPUs if there are any, else the CPU.

    Raises:
        InputError: a GPU is asked for and there is none, or the CPU is asked for and the GPUs are in use already.
    """
    if device not in DEVICES:
        raise InputError(f"device: {device!r} is unknown; choose from {', '.join(DEVICES)}")
    if device == "cpu":
        _hide_gpus()
    found = keras.distribution.list_devices()
    kind = found[0].partition(":")[0]
    if device == "gpu" and kind == "cpu":
        backend = keras.backend.backend()
        package = "jax[cuda13]" if backend == "jax" else "leukobench[gpu]"
        raise InputError(
            f"device gpu: {backend} finds no GPU; install {package} and the driver, or choose the device cpu"
        )
    return found


@contextlib.contextmanager
def computing_on(devices: Sequence[str], batch_size: int) -> Iterator[None]:
    """Distribute each batch over several devices, if the backend supports it.

    Keras does so with JAX; with TensorFlow it has no data parallelism, and the first device computes.

    Args:
        devices: From `choose_devices`.
        batch_size: Number of images in a batch.

    Raises:
        InputError: the batch size is no multiple of the number of devices.
    """
    if len(devices) == 1 or keras.backend.backend() != "jax":
        yield
        return
    if batch_size % len(devices):
        multiple = -(-batch_size // len(devices)) * len(devices)
        raise InputError(
            f"a batch size of {batch_size} cannot be divided among {len(devices)} devices; "
            f"try a batch size of {multiple}"
        )
    with keras.distribution.DataParallel(devices=list(devices), auto_shard_dataset=False).scope():
        yield


def policy_for(precision: str, devices: Sequence[str]) -> str:
    """Return Keras' name of the precision.

    Args:
        precision: One of `PRECISIONS`; `auto`: mixed on a GPU that multiplies 16-bit numbers faster, else float32.
        devices: From `choose_devices`.

    Raises:
        InputError: mixed precision is asked for on a device that does not compute faster with it.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision: {precision!r} is unknown; choose from {', '.join(PRECISIONS)}")
    on_gpu = devices[0].startswith("gpu")
    best = mixed_policy(_capability()) if on_gpu else mixed_policy_of_cpu(_cpu_flags())
    if precision == "mixed" and best == "float32":
        raise InputError(f"precision mixed: {devices[0]} does not compute faster with it; choose the precision float32")
    return best if precision == "mixed" or (precision == "auto" and on_gpu) else "float32"


def mixed_policy(capability: tuple[int, int] | None) -> str:
    """Return the mixed precision of a CUDA compute capability: bfloat16 from 8.0 on, float16 from 7.0 on."""
    if capability is None or capability < (7, 0):
        return "float32"
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"


def mixed_policy_of_cpu(flags: Collection[str]) -> str:
    """Return the mixed precision of a CPU: bfloat16 if TensorFlow finds instructions for such numbers.

    Args:
        flags: Features of the processor, as Linux names them.
    """
    multiplies = keras.backend.backend() == "tensorflow" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
    return "mixed_bfloat16" if multiplies else "float32"


@contextlib.contextmanager
def building_in(policy: str) -> Iterator[None]:
    """Build networks in a precision: one of Keras' dtype policies."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def memory_for(batch_size: int) -> Iterator[None]:
    """Suggest a smaller batch size if memory is too small for a batch.

    Raises:
        InputError: memory is too small.
    """
    try:
        yield
    except Exception as error:  # each backend has a class of its own for it
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        smaller = f"try a batch size of {batch_size // 2}"
        remedy = smaller if batch_size > 1 else "choose a smaller input_side, or a machine with more memory"
        raise InputError(f"out of memory with a batch size of {batch_size}; {remedy}") from None


@dataclass(frozen=True)
class Computation:
    """What computes, and how: the facts that a run folder records.

    Attributes:
        device: Backend and devices, such as `tensorflow on cpu:0`.
        precision: Keras' name of the precision.
    """

    device: str
    precision: str


@contextlib.contextmanager
def computing(device: str, precision: str, batch_size: int) -> Iterator[Computation]:
    """Build and run networks on the chosen devices, in the chosen precision.

    What JAX compiles for a GPU is kept in the cache, because it takes a minute for each training otherwise.

    Raises:
        InputError: see `choose_devices`, `policy_for` and `computing_on`.
    """
    devices = choose_devices(device)
    policy = policy_for(precision, devices)
    if keras.backend.backend() == "jax" and devices[0].startswith("gpu"):
        keep_compiled(cache_folder() / COMPILED)
    with building_in(policy), computing_on(devices, batch_size):
        yield Computation(name_devices(devices), policy)


def keep_compiled(folder: Path) -> None:
    """Let JAX keep what it compiles, so that folds and later runs of a network take it from the disk.

    Args:
        folder: The folder; one that the user has chosen by `JAX_COMPILATION_CACHE_DIR` comes first.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", os.fspath(folder))


def name_devices(devices: Sequence[str]) -> str:
    """Name backend and devices: `tensorflow on cpu:0`."""
    used = devices if keras.backend.backend() == "jax" else devices[:1]
    return f"{keras.backend.backend()} on {', '.join(used)}"


def _hide_gpus() -> None:
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_platforms", "cpu")
        return
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        raise InputError("device cpu: TensorFlow is using the GPU already; start a new process") from None


def _cpu_flags() -> list[str]:
    """Return the features of the processor; none if the system is not Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def _capability() -> tuple[int, int] | None:
    """Return the CUDA compute capability of the first GPU; None if it has none."""
    found: Any
    if keras.backend.backend() == "jax":
        import jax

        found = getattr(jax.devices()[0], "compute_capability", None)
        if found is None:
            return None
        major, minor = str(found).split(".")[:2]
        return int(major), int(minor)
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability")
