"""HTML pages in one file: the templates of a room, one style sheet, and embedded pictures."""

from __future__ import annotations

import base64
import hashlib
import re

import jinja2


def page_templates(room: str) -> jinja2.Environment:
    """Return the templates (`*.jinja`) beside the modules of a room such as `leukobench.comparison`.

    Every template can include `style.css.jinja`, the style sheet of all pages, and has the filter `embedded`.
    """
    rooms = [jinja2.PackageLoader(name, ".") for name in (room, "leukobench.core")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(rooms), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embedded"] = embedded
    return environment


def embedded(picture: bytes, kind: str = "png") -> str:
    """Return a picture as the source of an `img` element, so that a page needs no other file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def guarded(page: str, *, script: bool = False) -> str:
    """Add a Content-Security-Policy to a page: nothing is loaded, and nothing runs but the page's own script.

    Args:
        page: The page, with a `head`.
        script: Whether its last `script` element is its own.
    """
    allowed = "'none'"
    if script:
        own = re.findall("<script>(.*?)</script>", page, re.DOTALL)[-1]
        allowed = f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return page.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
