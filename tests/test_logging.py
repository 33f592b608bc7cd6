"""What leukobench says while it works: nothing but results with -q, what is done and how long it takes with -v."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import leukobench.workflows.demo
from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.core.errors import InputError
from leukobench.core.progress import LIBRARY, ProgressBar, logged_to_stderr

LOG = logging.getLogger("leukobench.tests")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert (LIBRARY.handlers, LIBRARY.level) == ([], logging.NOTSET)


def test_verbose_says_on_stderr_what_is_done_and_how_long_and_prints_the_same(cohort: Path, tmp_path: Path) -> None:
    given = (cohort / "images", "--manifest", cohort / "manifest.csv", "--set", "patel", "-o")
    plain = command("extract", *given, tmp_path / "a.csv")
    verbose = command("-v", "extract", *given, tmp_path / "b.csv")
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert verbose.stdout == plain.stdout.replace("a.csv", "b.csv")
    lines = verbose.stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d leukobench\.[\w.]+: .* [\d.]+ s$", line) for line in lines)
    said = [re.sub(r"[\d.]+ s$", "", line[9:]) for line in lines]
    assert said[0] == "leukobench.features.extractor: extracting: 40 cells in "
    assert said[-1] == "leukobench.cli: extract: ended after "


def test_a_training_logs_the_search_and_each_model(
    cohort: Path, folds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"n_neighbors": [3, 5], "metric": "euclidean"}
    with caplog.at_level(logging.INFO, "leukobench"):
        how = {"recipe": "leukobench-knn", "settings": settings, "importance": False}
        train_classifier(cohort / "features.csv", folds, tmp_path / "run", **how)
    said = [(record.name, record.getMessage()) for record in caplog.records]
    models = [text.partition(":")[0] for name, text in said if name == "leukobench.classifiers.training"]
    assert models == ["model_fold_0", "model_fold_1", "model_fold_2", "model"]
    assert any(re.search(r"n_neighbors [35], .*; fitted to 40 cells in [\d.]+ s", text) for _, text in said)
    searches = [text for name, text in said if name == "leukobench.classifiers.search"]
    assert len(searches) == 4 and all(re.match(r"search: \d+ fits in [\d.]+ s$", text) for text in searches)


def test_bars_are_drawn_on_a_terminal_but_not_quietly(caplog: pytest.LogCaptureFixture) -> None:
    def drawn(file: io.StringIO) -> str:
        assert list(ProgressBar(LOG, [1, 2], desc="working", file=file)) == [1, 2]
        return file.getvalue()

    assert "working: 100%" in drawn(Terminal())
    assert drawn(io.StringIO()) == ""
    with logged_to_stderr(logging.ERROR):
        assert drawn(Terminal()) == ""
    assert caplog.records == []  # the level INFO is left out by default


def test_work_that_fails_is_not_logged_as_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "leukobench"):
        with ProgressBar(LOG, total=1000, initial=200, desc="good", unit="image"):
            pass
        with pytest.raises(InputError), ProgressBar(LOG, total=1000, desc="bad", unit="image"):
            raise InputError("no")
        with ProgressBar(LOG, total=3, desc=None):
            pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"good: 800 images in [\d.]+ s", said)


def test_quiet_leaves_out_steps_and_defaults_but_neither_results_nor_errors(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*_: object, say, **__: object) -> None:
        say("1/7 generating")
        raise InputError("demo: no")

    monkeypatch.setattr(leukobench.workflows.demo, "run_demo", stopping)
    monkeypatch.chdir(tmp_path)
    Path("leukobench.toml").write_text("jobs = 2\n")
    assert command("demo", "-o", "demo").output.splitlines() == [
        "leukobench.toml: defaults for demo: --jobs 2",
        "1/7 generating",
        "Error: demo: no",
    ]
    assert command("-q", "demo", "-o", "demo").output == "Error: demo: no\n"
    plain, quiet = (command(*option, "audit", cohort / "manifest.csv") for option in ((), ("-q",)))
    assert (quiet.stdout, quiet.stderr) == (plain.stdout, "")
    assert "manifest.csv: 40 images" in quiet.stdout


def test_verbose_and_quiet_exclude_each_other() -> None:
    result = command("-v", "-q", "audit")
    assert result.exit_code == 2
    assert "-v and -q exclude each other" in result.output
