"""What the wheel and the source distribution hold, and that an installation from either works away from the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from configparser import ConfigParser
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import pytest

import leukobench
from tests.conftest import REPOSITORY

HEAVY = ("numpy", "pandas", "sklearn", "skimage", "cv2", "keras", "tensorflow", "matplotlib")
SHIPPED_IMAGES = "15,114 images"  # what `leukobench audit` says first about the shipped manifest

needs_setuptools = pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77,
    reason="building needs setuptools>=77: pip install 'leukobench[test]'",
)


def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    return parser


def run(command: Sequence[object], *, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def files() -> list[str]:
    """The files of the repository: those in git, and new ones that git does not ignore."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git clone")
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY)
    return sorted(name for name in set(listed.split("\0")) if (REPOSITORY / name).is_file())


@pytest.fixture(scope="module")
def built(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built in a copy of the repository."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, copy / name)
    # the wheel is built from the unpacked source distribution, so whatever this lacks is missing in the wheel too
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, copy], cwd=out)
    return out


def packages(files: list[str]) -> list[str]:
    folders = [Path(name).parent for name in files if Path(name).name == "__init__.py"]
    return sorted(".".join(("leukobench", *folder.parts)) for folder in folders)


def test_every_package_folder_is_listed(files: list[str]) -> None:
    assert setup()["options"]["packages"].split() == packages(files)


@needs_setuptools
def test_the_wheel_holds_the_package_alone(files: list[str], built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    outside = [name for name in names if not re.match(r"leukobench(-[\w.]+\.dist-info)?/", name)]
    assert outside == []
    inside = {name.removeprefix("leukobench/") for name in names if name.startswith("leukobench/")}
    folders = {Path(name).parent.as_posix() for name in files if Path(name).name == "__init__.py"}
    modules = {name for name in files if name.endswith(".py") and Path(name).parent.as_posix() in folders}
    templates = {name for name in files if name.endswith(".jinja")}
    assert templates
    assert inside == modules | templates | {"data_manifest.csv", "data_manifest.ties.csv", "py.typed"}


@needs_setuptools
def test_the_source_distribution_holds_what_is_needed_to_build(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.cfg", "data_manifest.csv"} <= names


@needs_setuptools
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_an_installation_finds_the_shipped_manifest(built: Path, tmp_path: Path, kind: str) -> None:
    (archive,) = built.glob(kind)
    target, elsewhere = tmp_path / "target", tmp_path / "elsewhere"
    elsewhere.mkdir()
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target")
    run([sys.executable, "-m", "pip", "install", *options, target, archive], cwd=elsewhere)
    said = run([sys.executable, "-m", "leukobench.cli", "audit"], cwd=elsewhere, PYTHONPATH=str(target))
    assert SHIPPED_IMAGES in said.splitlines()[0]
    code = "import leukobench; print(leukobench.__file__)"
    found = run([sys.executable, "-c", code], cwd=elsewhere, PYTHONPATH=str(target))
    assert Path(found.strip()).resolve().is_relative_to(target.resolve())


def test_the_container_gets_every_file_of_the_package_and_runs_as_a_user_without_rights(files: list[str]) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = [line.removeprefix("**/") for line in lines if not line.startswith("#")]
    folders = {Path(name).parent.as_posix() for name in files if Path(name).name == "__init__.py"}
    needed = {name for name in files if Path(name).parent.as_posix() in folders}
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml", "cli.py", "cnn/data.py"} <= needed
    left_out = {name for name in needed if any(fnmatch(name.split("/")[0], pattern) for pattern in ignored)}
    assert all(name.startswith(".") for name in left_out)
    assert "tests/conftest.py" in files and "tests" in ignored
    steps = re.findall(r"^([A-Z]+) (.*)", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    pythons = {re.findall(r"^python:(3\.\d+)-slim", value)[0] for name, value in steps if name == "FROM"}
    assert len(pythons) == 1
    assert f"Programming Language :: Python :: {pythons.pop()}" in setup()["metadata"]["classifiers"].split("\n")
    assert [value for name, value in steps if name in ("USER", "ENTRYPOINT")] == ["leukobench", '["leukobench"]']


def test_importing_the_package_is_quick_and_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import leukobench\n"
        "print(time.perf_counter() - start)\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    answers = [run([sys.executable, "-c", code], cwd=tmp_path).splitlines() for _ in range(3)]
    assert min(float(seconds) for seconds, _ in answers) < 0.1
    assert {loaded for _, loaded in answers} == {""}


def test_pre_commit_and_the_test_extra_pin_the_same_ruff() -> None:
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = re.findall(r"ruff-pre-commit\n\s+rev: v([\d.]+)", hooks)
    assert pinned == re.findall(r"ruff==([\d.]+)", setup()["options.extras_require"]["test"])
    assert len(pinned) == 1


def test_the_citation_and_the_changelog_name_the_version() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited == leukobench.__version__
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{leukobench.__version__}] - " in changes
