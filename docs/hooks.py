"""What the site needs beyond the Markdown files: links out of `docs/` lead to the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = "https://github.com/leukobench/leukobench/blob/main/"


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Replace each relative link that leaves `docs/`; the file must exist.

    Raises:
        FileNotFoundError: it does not exist.
    """
    here = (REPOSITORY / "docs" / page.file.src_uri).parent

    def absolute(link: re.Match[str]) -> str:
        target = (here / link["path"]).resolve()
        if target.is_relative_to(REPOSITORY / "docs"):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri}: links to {link['path']}, which does not exist")
        return f"]({SOURCE}{target.relative_to(REPOSITORY).as_posix()}{link['anchor'] or ''})"

    return re.sub(r"\]\((?P<path>\.\./[^)#\s]+)(?P<anchor>#[^)\s]*)?\)", absolute, markdown)
