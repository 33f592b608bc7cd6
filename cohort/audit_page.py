"""Write an audit: all findings as JSON and, in a folder, a page for human eyes and the table of ties."""

from __future__ import annotations

import os
from pathlib import Path

from leukobench.cohort.audit import Audit
from leukobench.cohort.ties import write_ties
from leukobench.core.files import refuse_existing, write_json


def write_audit(found: Audit, out: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> str:
    """Write an audit, and return a line that says what was written."""
    out = Path(out)
    refuse_existing(out)
    if out.suffix == ".json":
        write_json(found.as_json(), out)
        return f"{out}: all findings"
    out.mkdir(parents=True)
    write_json(found.as_json(), out / "audit.json")
    write_ties(found.ties, out / "ties.csv")
    return f"{out}: audit.json (all findings), ties.csv"
