"""A training that is really killed, continued, and compared with one that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from leukobench.cnn.training import train_network
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.results.run import RunFolder
from tests.conftest import QUICK_RECIPE, REPOSITORY

pytestmark = pytest.mark.usefixtures("quick_network")

CHANGES = {
    "epochs": 3,
    "batch_size": 8,
    "keep": "val_accuracy",
    "schedule": "cosine",
    "class_weights": "balanced",
}

# arguments: cohort, run folder, epoch after whose checkpoint the process kills itself, recipe, its changes as JSON
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import leukobench.cnn.checkpoint
from leukobench.cnn.training import train_network
from tests.cnn.networks import quick_recipe

cohort, out, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
save = leukobench.cnn.checkpoint.Checkpoint.save
def save_and_die(self, model, progress, final):
    save(self, model, progress, final)
    if len(progress.history) == last:
        os.kill(os.getpid(), signal.SIGKILL)
leukobench.cnn.checkpoint.Checkpoint.save = save_and_die
quick_recipe()
train_network(cohort / "images", cohort / "manifest.csv", cohort / "split.csv", out, recipe=sys.argv[4],
      changes=json.loads(sys.argv[5]), seed=1)
"""


def run_script(cohort: Path, out: Path, last: int) -> int:
    command = [sys.executable, "-c", SCRIPT, cohort, out, str(last), QUICK_RECIPE, json.dumps(CHANGES)]
    return subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL).returncode


@pytest.fixture(scope="module")
def cut_short(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training that was killed after its first epoch leaves behind."""
    out = tmp_path_factory.mktemp("killed") / "run"
    assert run_script(cohort, out, last=1) == -signal.SIGKILL
    assert not out.exists()
    return out.with_name("run.partial")


def go_on(cohort: Path, out: Path, **different) -> RunFolder:
    arguments = {"recipe": QUICK_RECIPE, "changes": CHANGES, "seed": 1, "resume": True} | different
    return train_network(cohort / "images", cohort / "manifest.csv", cohort / "split.csv", out, **arguments)


def test_a_killed_training_ends_as_an_unbroken_one(cohort: Path, cut_short: Path, tmp_path: Path) -> None:
    shutil.copytree(cut_short, tmp_path / "broken.partial")
    assert len(pd.read_csv(tmp_path / "broken.partial" / "history.csv")) == 1
    broken, unbroken = go_on(cohort, tmp_path / "broken"), go_on(cohort, tmp_path / "unbroken", resume=False)
    assert broken.predictions["score"].tolist() == unbroken.predictions["score"].tolist()
    assert broken.info.calibration == unbroken.info.calibration
    assert broken.info.calibration_of(None) is not None
    figures = [column for column in unbroken.history if column != "seconds"]
    assert len(figures) == 6
    pd.testing.assert_frame_equal(broken.history[figures], unbroken.history[figures], check_exact=True)
    assert not list(tmp_path.glob("*.partial"))


def test_an_unfinished_training_is_neither_overwritten_nor_mixed_with_another(
    cohort: Path, cut_short: Path, tmp_path: Path
) -> None:
    shutil.copytree(cut_short, tmp_path / "run.partial")
    with pytest.raises(
        UnfinishedError, match=r"run\.partial: contains the unfinished results of an interrupted call; resume it"
    ):
        go_on(cohort, tmp_path / "run", resume=False)
    with pytest.raises(InputError, match="was trained with another seed; use the same arguments"):
        go_on(cohort, tmp_path / "run", seed=2)
    state = tmp_path / "run.partial" / "state.npz"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.npz: cannot be resumed"):
        go_on(cohort, tmp_path / "run")
    (tmp_path / "run.partial" / "training.json").write_text("{")
    with pytest.raises(InputError, match="contains no training that can be resumed"):
        go_on(cohort, tmp_path / "run")
