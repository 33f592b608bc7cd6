from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from leukobench.cnn.cache import new_array


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system writes zeros instead")
def test_the_space_of_an_array_is_on_the_disk_before_it_is_written_to(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", np.uint8, (1000, 1000))
    status = (tmp_path / "a.npy").stat()
    assert status.st_size == 1_000_000 + 128  # header of NumPy's format
    assert status.st_blocks * 512 >= status.st_size  # a file with holes has fewer
    array[:] = 7
    array.flush()
    assert (np.load(tmp_path / "a.npy") == 7).all()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        new_array(tmp_path / "a.npy", np.uint8, (1000, 1000))
