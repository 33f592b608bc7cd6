"""What computes: which devices, with what precision, and what to do where their memory is too small."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from leukobench.cnn.backend import keras
from leukobench.core.errors import InputError

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "float32", "mixed")
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|OOM when allocating|[Oo]ut of memory|Unable to allocate")


def choose_devices(asked: str) -> list[str]:
    """Return the devices that compute: `["gpu:0"]`.

    Args:
        asked: `auto` for GPUs where there are any, `cpu`, or `gpu`.

    Raises:
        InputError: a GPU is asked for and there is none, or the CPU and the GPUs are in use already.
    """
    if asked == "cpu":
        _hide_gpus()
    found = keras.distribution.list_devices()
    kind = found[0].partition(":")[0]
    if asked == "gpu" and kind == "cpu":
        raise InputError(
            f"--device gpu: {keras.backend.backend()} finds no GPU; install leukobench[gpu] and the driver, "
            "or take --device cpu"
        )
    return found


@contextlib.contextmanager
def computing_on(devices: Sequence[str], batch: int) -> Iterator[None]:
    """Share each batch among several devices, where the backend can.

    Keras does so under JAX; its TensorFlow backend has no data parallelism, so there the first device computes.

    Args:
        devices: From `choose_devices`.
        batch: Images a step.

    Raises:
        InputError: the batch cannot be divided by the number of devices.
    """
    if len(devices) == 1 or keras.backend.backend() != "jax":
        yield
        return
    if batch % len(devices):
        fitting = -(-batch // len(devices)) * len(devices)
        raise InputError(f"a batch of {batch} cannot be shared by {len(devices)} devices; try --batch {fitting}")
    with keras.distribution.DataParallel(devices=list(devices), auto_shard_dataset=False).scope():
        yield


def policy_for(asked: str, devices: Sequence[str]) -> str:
    """Return Keras' name of the precision.

    Args:
        asked: One of `PRECISIONS`: `auto` is mixed on a GPU that multiplies 16-bit numbers faster, else float32.
        devices: From `choose_devices`.

    Raises:
        InputError: mixed precision is asked for on a device that gains nothing from it.
    """
    on_gpu = devices[0].startswith("gpu")
    best = mixed_policy(_capability()) if on_gpu else mixed_policy_of_cpu(_cpu_flags())
    if asked == "mixed" and best == "float32":
        raise InputError(f"--precision mixed: {devices[0]} gains nothing from it; take --precision float32")
    return best if asked == "mixed" or (asked == "auto" and on_gpu) else "float32"


def mixed_policy(capability: tuple[int, int] | None) -> str:
    """Return the mixed precision of a CUDA compute capability: bfloat16 from 8.0 on, float16 from 7.0 on."""
    if capability is None or capability < (7, 0):
        return "float32"
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"


def mixed_policy_of_cpu(flags: Collection[str]) -> str:
    """Return the mixed precision of a CPU: bfloat16 where TensorFlow finds instructions that multiply such numbers.

    Args:
        flags: What the processor can do, in the words of Linux.
    """
    multiplies = keras.backend.backend() == "tensorflow" and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
    return "mixed_bfloat16" if multiplies else "float32"


@contextlib.contextmanager
def building_in(policy: str) -> Iterator[None]:
    """Build networks in a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def memory_for(batch: int) -> Iterator[None]:
    """Tell which batch to try where a step of `batch` images does not fit into memory.

    Raises:
        InputError: it does not.
    """
    try:
        yield
    except Exception as error:  # each backend has its own class for it
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        remedy = f"try --batch {batch // 2}" if batch > 1 else "take a smaller --set input_side, or a larger machine"
        raise InputError(f"out of memory in steps of {batch} images; {remedy}") from None


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
        raise InputError("--device cpu: TensorFlow has the GPU in use already; start a new process") from None


def _cpu_flags() -> list[str]:
    """Return what the processor can do; nothing where the system is not Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def _capability() -> tuple[int, int] | None:
    """Return the CUDA compute capability of the first GPU; None where it has none."""
    found: Any
    if keras.backend.backend() == "jax":
        import jax

        found = getattr(jax.devices()[0], "compute_capability", None)
        return None if found is None else tuple(int(number) for number in str(found).split("."))[:2]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return details.get("compute_capability")
