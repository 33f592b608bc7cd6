"""A study whose outputs lie on a real file system (ext4 in a file), so that power can be cut under it. Needs root.

The file system is mounted from a file, which is the disk. What a power cut leaves is what this file contains at that
moment: the kernel keeps the rest in memory. The file is copied until two copies are equal, then the copy is mounted in
its place, which replays its journal, as after a power cut.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from benchmarks.injection import COMMIT, image_of
from benchmarks.small_study import Study

SIZE = 48 << 20  # bytes


@dataclass
class StudyOnDisk(Study):
    """A study whose folder of outputs is an ext4 file system of its own."""

    cut: str = "snapshot"

    def clear(self) -> None:
        """Make the file system anew."""
        self.close()
        image = image_of(self.out)
        image.unlink(missing_ok=True)
        with open(image, "wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        self._mount()

    def after_power_cut(self) -> None:
        """Mount what the power cut has left."""
        self.close()
        image_of(self.out).with_suffix(".after").replace(image_of(self.out))
        self._mount()

    def close(self) -> None:
        """Unmount the file system, if it is mounted."""
        if self.out.is_mount():
            subprocess.run(["umount", self.out], check=True)

    def _mount(self) -> None:
        self.out.mkdir(exist_ok=True)
        options = f"loop,commit={COMMIT}"
        subprocess.run(["mount", "-t", "ext4", "-o", options, image_of(self.out), self.out], check=True)
        for folder in self.out.glob("lost+found"):
            folder.rmdir()
