"""ZIP archives from somebody else, such as stored models: what they would unpack to."""

from __future__ import annotations

import zipfile
from pathlib import Path

EXPANSION = 4  # at most so many bytes for one of the file: weights hardly compress, and neither format compresses them
SLACK = 1 << 24  # bytes beside that, for the small files of a small model


def refuse_bomb(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise ValueError if an archive would unpack to much more than its own size."""
    size, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
    if unpacked > EXPANSION * size + SLACK:
        raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}; no model does")
