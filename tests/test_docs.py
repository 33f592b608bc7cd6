"""The documentation: it is current, what it shows runs, and what it quotes stands where it says."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest
from click.shell_completion import ShellComplete

from leukobench.cli import main
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LARGEST = 150_000  # bytes of a picture


def script(name: str) -> ModuleType:
    """Load a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of_tables(page: str) -> list[tuple[str, list[str]]]:
    """The rows of the tables on a page: the first header of the table, and the cells."""
    rows, header = [], ""
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            header = ""
        elif not header:
            header = cells[0]
        elif not set(line) <= set("|- "):
            rows.append((header, cells))
    return rows


def test_the_reference_pages_are_current() -> None:
    assert script("reference").outdated() == [], "run python docs/reference.py"


def test_each_feature_names_a_test_that_exists() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "tests/features").glob("test_*.py"))
    named = {test for _, _, test in script("reference").CHECKS}
    assert [test for test in sorted(named) if f"def {test}(" not in tests] == []


@pytest.mark.no_cover  # the same path as in other tests, at half the time
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    """Numbers, and what depends on them, may differ between versions of libraries; so may the width of a table."""
    tutorial = script("tutorial")

    def text(page: str) -> str:
        page = re.sub(r"^(chosen by|- \w+ chose) .*\n|; towards .*", "", page, flags=re.MULTILINE)
        return re.sub(r"[-:]*-{2,}[-:]*| +", " ", re.sub(r"[-+]?\d[\d.]*", "#", page))

    assert text(tutorial.executed(tmp_path)) == text(tutorial.PAGE.read_text(encoding="utf-8"))
    files = tutorial.PICTURES.values()
    assert [file for file in files if not (tmp_path / file).is_file()] == []
    assert len(tutorial.strip(tmp_path).axes) == 8  # four cells, and the bars below each


@pytest.mark.no_cover  # the same path as in other tests, at half the time
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Jupyter runs it, but for the installation."""
    notebook = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["language"]) == (4, "python")
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(re.sub(r"^(\s*)%pip .*", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE), names)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_example_of_the_intervals_shows_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "intervals.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    printed = [list(map(float, re.findall(r"[\d.]+", line))) for line in capsys.readouterr().out.splitlines()]
    (people, low, high), (cells, narrow_low, narrow_high) = printed
    assert people == cells
    assert high - low > 5 * (narrow_high - narrow_low)


def test_the_shell_completes_commands_and_options() -> None:
    complete = ShellComplete(main, {}, "leukobench", "_LEUKOBENCH_COMPLETE")
    assert [found.value for found in complete.get_completions([], "train")] == ["train-svm", "train-knn", "train-cnn"]
    assert [found.value for found in complete.get_completions(["split"], "--rep")] == ["--repeats"]


def messages_of_the_code() -> list[str]:
    """Every text in the code, with ... for what is filled in."""
    folders = [REPOSITORY, *(file.parent for file in REPOSITORY.glob("[a-z]*/**/__init__.py"))]
    kept = [folder for folder in folders if not {"build", "dist", "tests"} & set(folder.relative_to(REPOSITORY).parts)]
    found = []
    for file in (file for folder in kept for file in folder.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_each_message_of_the_troubleshooting_page_stands_in_the_code() -> None:
    messages = messages_of_the_code()
    quoted = [cells[0].strip("`") for header, cells in rows_of_tables("troubleshooting.md") if header == "message"]
    assert len(quoted) > 40
    for message in quoted:
        literal = [part for part in message.split("...") if part.strip()]
        assert sum(map(len, literal)) >= 20, message
        pattern = re.compile(".*".join(map(re.escape, literal)), re.DOTALL)
        assert any(pattern.search(text) for text in messages), message


def test_each_time_of_the_hardware_page_stands_in_its_section_of_the_results() -> None:
    results = (REPOSITORY / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    sections = {anchor(part.splitlines()[0]): part for part in re.split(r"^## ", results, flags=re.MULTILINE)}
    rows = [cells for _, cells in rows_of_tables("hardware.md")]
    assert len(rows) > 15
    for cells in rows:
        (section,) = re.findall(r"RESULTS\.md#([^)]+)\)", cells[-1])
        number = cells[-2].split()[0]
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", sections[section]), cells


def anchor(heading: str) -> str:
    """The anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *PAGES], ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for path, at in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if at:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert at in {anchor(heading) for heading in headings}, f"{path}#{at}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == DOCS], ids=lambda page: page.name)
def test_each_command_and_option_of_a_page_exists(page: Path) -> None:
    reference = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    options = {
        part.splitlines()[0]: set(re.findall(r"`(--?[\w-]+)`", part)) | {"--help"}
        for part in re.split(r"^## ", reference, flags=re.MULTILINE)[1:]
    }
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = [*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *re.findall(r"^ {4}.*$", text, re.MULTILINE)]
    for line in re.findall(r"^\s*(?:[A-Z_]+=\S+ )?leukobench ([a-z].*)$", "\n".join(code), re.MULTILINE):
        words = line.split(" #")[0].split()
        assert words[0] in options, line
        used = {word for word in words[1:] if re.fullmatch(r"--?[a-zA-Z][\w-]*", word)}
        assert used <= options[words[0]], line


def test_pictures_are_small_and_used() -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in [REPOSITORY / "README.md", *PAGES])
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < LARGEST, picture.name
        assert f"images/{picture.name})" in texts, picture.name


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_the_site_needs_its_extra_only() -> None:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    assert "mkdocs-material" in setup["options.extras_require"]["docs"]
