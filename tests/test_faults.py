"""A short form of benchmarks/faults.py, limits of memory, and equal results whatever surrounds the process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import write_manifest
from tests.conftest import REPOSITORY

LIMITED = """
import resource, sys
from leukobench.cells.decoding import read_image
from leukobench.cli import main

if __name__ == "__main__":
    import leukobench.features.extractor  # libraries need memory of their own

    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
    main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the names of open files and the memory on Linux")
def test_kills_write_faults_and_power_cuts_lose_nothing_and_damaged_files_are_refused_in_one_line() -> None:
    small = {"kills": 8, "writes": 2, "cuts": 8, "images": 40, "tables": 48, "models": 21, "run-files": 60}
    small |= {"orphans": 3, "memory": 0}  # how much memory libraries need depends on the machine
    options = [text for name, number in small.items() for text in (f"--{name}", str(number))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *options], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (.+?) +\| +(\d+) \| +(\d+) \|", done.stdout, re.MULTILINE)
    assert [int(findings) for _, _, findings in rows] == [0] * len(rows)
    assert sum(int(trials) for _, trials, _ in rows) == sum(small.values()) + 7 * small["writes"]  # eight commands


def test_power_cuts_under_a_real_file_system_lose_nothing_that_is_finished() -> None:
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("only root can mount a file system from a file, on Linux with mkfs.ext4")
    if subprocess.run(["losetup", "--find"], capture_output=True).returncode:
        pytest.skip("this machine has no loop device")
    options = ["--disk", "--scale", "0", "--cuts", "10", "--commands", "manifest,extract"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *options], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\| power cut, (\w+) +\| +5 \| +0 \|", done.stdout, re.MULTILINE) == ["manifest", "extract"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of the address space is kept on Linux")
def test_too_little_memory_ends_in_one_line_that_says_what_to_lower(tmp_path: Path) -> None:
    images, manifest, out = tmp_path / "images", tmp_path / "manifest.csv", tmp_path / "features.csv"
    (images / "all").mkdir(parents=True)
    large = Image.new("RGB", (8000, 8000))
    large.paste((90, 40, 120), (100, 100, 200, 180))
    large.save(images / "all" / "subject1.png")
    write_manifest(index_folder(images, subject_regex=r"subject\d", near=False), manifest)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(100 << 20), "extract", images, "--manifest", manifest, "-o", out],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search("^Error: memory ran out; use fewer parallel processes", done.stderr.splitlines()[-1])
    assert not out.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the locale C.UTF-8 is there on Linux")
def test_results_do_not_depend_on_workers_folder_locale_time_zone_and_hash_seed(cohort: Path, tmp_path: Path) -> None:
    """Of run.json, only the times, the command and the checksums of files with times in them may differ."""
    surroundings = (
        {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C", "jobs": "1"},
        {"PYTHONHASHSEED": "4242", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "jobs": "2"},
    )
    results = []
    for number, settings in enumerate(surroundings):
        folder = tmp_path / f"place {number}"
        folder.mkdir()
        jobs = settings.pop("jobs")
        program = "import sys; from leukobench.cli import main\nif __name__ == '__main__': main(sys.argv[1:])"
        table, run = folder / "features.csv", folder / "run"
        options = ("--C", "1", "--gamma", "scale", "--kernel", "rbf", "--no-importance")
        for command in (
            ("extract", cohort / "images", "--manifest", cohort / "manifest.csv", "-o", table, "--jobs", jobs),
            ("train-svm", table, "--split", cohort / "split.csv", "-o", run, "--jobs", jobs, *options),
        ):
            subprocess.run(
                [sys.executable, "-c", program, *map(str, command)],
                cwd=folder,
                env=os.environ | settings | {"PYTHONPATH": os.pathsep.join(sys.path)},
                check=True,
                capture_output=True,
            )
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.csv")}
        info = json.loads((run / "run.json").read_text())
        same = {name: value for name, value in info.items() if name not in ("seconds", "command", "files")}
        results.append(files | {"metrics": (run / "metrics.json").read_bytes(), "run": same})
    assert results[0] == results[1]
    assert {"features.csv", "run/predictions.csv", "run/search.csv"} <= results[0].keys()
