"""The whole study of a folder of images: from the manifest to the comparison, step by step, each a command of its own.

The folder of a study:

| file | content |
|---|---|
| `index.html` | front page: the findings of every step, and links |
| `commands.sh` | the commands of all steps, in their order; each can be run alone |
| `steps.json` | the steps that are complete: seconds, and what they found |
| `manifest.csv`, `verification.csv`, `audit`, `folds`, `features.csv`, `runs`, `report`, `leakage` | what they wrote |
"""

from __future__ import annotations

import itertools
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import leukobench
from leukobench.core.errors import InputError
from leukobench.core.files import locked, make_folder, read_json, unfinished_path, whole_file, write_json
from leukobench.core.pages import guarded, page_templates
from leukobench.core.workers import check_backend
from leukobench.workflows.remaining_time import RemainingTime, expected_seconds, in_words
from leukobench.workflows.study_plan import Step, Study, cohort_facts, index_step, steps

PAGE, COMMANDS, STEPS = "index.html", "commands.sh", "steps.json"
_GO_ON = " || true"  # after a command that may fail


def benchmark(study: Study, say: Callable[[str], None] = lambda text: None) -> Path:
    """Do every step of a study that is not complete yet, and write its front page.

    After an interruption, however abrupt, the same call does the rest: complete steps are not done again, and those
    that keep a journal go on where they stopped.

    Args:
        study: The study.
        say: Function that is called with one line of text before and after each step.

    Returns:
        The front page.

    Raises:
        InputError: a step that is not optional cannot be done, the folder has a study with other settings, or another
            process is writing it.
    """
    check_backend(study.jobs, study.backend, study.scheduler)
    with locked(study.path(PAGE)):
        begun, first, done = time.monotonic(), index_step(study), _read_done(study)
        seconds = _do(study, first, done, "1", say)
        facts = cohort_facts(study)
        _refuse_other_study(study, steps(study, facts))
        remaining = RemainingTime(expected_seconds(facts.images, study.quick))
        remaining.add(first.name, seconds)
        for number in range(1, len(steps(study, facts))):
            planned = steps(study, facts)  # anew: the comparison names the runs that there are by now
            step, of = planned[number], f"{number + 1}/{len(planned)}"
            limit = (math.inf if study.hours is None else study.hours * 3600) - (time.monotonic() - begun)
            if step.optional and limit <= 0 and not step.output.exists():
                say(f"{of} {step.name}: not begun, the time is over; the same command does it later")
            else:
                left = remaining.seconds([each for each in planned[number:] if not _complete(each, done)], limit)
                remaining.add(step.name, _do(study, step, done, of, say, left))
            _write_page(study, steps(study, facts), done)
    return study.path(PAGE)


def _do(
    study: Study, step: Step, done: dict[str, Any], of: str, say: Callable[[str], None], left: float | None = None
) -> float | None:
    """Do a step unless it is complete, and record what it found.

    Returns:
        Its seconds; None if it was complete, was left out, or went on from the journal of an interrupted call.
    """
    if _complete(step, done):
        with locked(step.output):  # removes what a process that was killed while it wrote left beside the output
            _remove(unfinished_path(step.output))  # one that was killed right after that has left its journal
            say(f"{of} {step.name}: complete")
        return None
    if step.output.exists():
        shutil.rmtree(step.output)
    say(f"{of} {step.name}{'' if left is None else f' ({in_words(left)})'}: {step.shell}")
    goes_on, begun = unfinished_path(step.output).exists(), time.monotonic()
    make_folder(step.output.parent)
    seconds = None
    try:
        found = step.run()
    except InputError as error:
        if not step.optional:
            raise
        found = [f"left out: {error}"]
        say(f"{of} {step.name}: {found[0]}")
    else:
        seconds = round(time.monotonic() - begun, 1)
        say(f"{of} {step.name}: {seconds:,.0f} s")
    done[step.name] = {"command": step.shell, "seconds": seconds, "found": found}
    write_json({"leukobench": leukobench.__version__, "steps": done}, study.path(STEPS), replace=True)
    return None if goes_on else seconds


def _complete(step: Step, done: Mapping[str, Any]) -> bool:
    changed = step.derived and done.get(step.name, {}).get("command") != step.shell
    return step.output.exists() and not changed


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_done(study: Study) -> dict[str, Any]:
    path = study.path(STEPS)
    content = read_json(path, "remove it, and repeat the command") if path.exists() else {}
    recorded = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(recorded, dict):
        return {}
    return {name: each for name, each in recorded.items() if isinstance(each, dict)}


def _refuse_other_study(study: Study, planned: Sequence[Step]) -> None:
    """Check that the folder has no study with other settings; who does the work may differ.

    Raises:
        InputError: it has one.
    """
    path = study.path(COMMANDS)
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [_setting(line) for line in lines if line.startswith("leukobench")]
        for one, other in itertools.zip_longest(kept, [_setting(step.shell) for step in planned]):
            if one != other:
                raise InputError(
                    f"{study.folder}: has a study with other settings ({one}; now {other}); choose another folder"
                )


def _setting(command: str) -> str:
    """Return a command without what may differ between calls: who does the work, and the runs to compare."""
    cluster = r" --backend \w+ --scheduler \S+"
    return re.sub(rf" --jobs \d+|{cluster}|(?<=leukobench compare ).*|{re.escape(_GO_ON)}$", "", command)


def _write_page(study: Study, planned: Sequence[Step], done: Mapping[str, Any]) -> None:
    """Write the front page and the commands."""
    rows = [
        {
            "name": step.name,
            "command": step.shell,
            "link": os.path.relpath(step.output / step.shown, study.folder) if step.output.exists() else "",
            "seconds": done.get(step.name, {}).get("seconds"),
            "found": done.get(step.name, {}).get("found", []),
        }
        for step in planned
    ]
    page = page_templates("leukobench.workflows").get_template("benchmark.html.jinja")
    text = guarded(page.render(images=study.images, rows=rows, version=leukobench.__version__))
    commands = [step.shell + _GO_ON * step.may_fail for step in planned]
    script = "".join(f"{line}\n" for line in ("#!/bin/sh", "set -e", *commands))
    for name, content in ((PAGE, text), (COMMANDS, script)):
        with whole_file(study.path(name), replace=True) as unfinished:
            unfinished.write_text(content, encoding="utf-8")
