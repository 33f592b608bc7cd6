"""Compare trained runs: `compare` takes run folders and returns a `Comparison`. No model is loaded."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from leukobench.cohort.identity import natural_order
from leukobench.comparison.agreement import agreement_table
from leukobench.comparison.assessing import assess
from leukobench.comparison.other_models import read_other_model
from leukobench.comparison.paired_tests import MARGIN
from leukobench.comparison.referral import referral_table
from leukobench.comparison.results import ComparedRuns
from leukobench.comparison.settling import settling_table
from leukobench.comparison.tables import cell_level_table, pairs_table, runs_table, subjects_table
from leukobench.core.errors import InputError
from leukobench.core.text import counted
from leukobench.results.run import RunFolder, read_run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison(ComparedRuns):
    """Runs compared on the same test rows, as `compare` returns it.

    The attributes of `leukobench.comparison.results.ComparedRuns` hold every metric and test.

    Example: with the runs of `compare`'s example.
        >>> import leukobench as lb
        >>> lb.compare([])
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: runs: is empty; give at least one run
    """

    @property
    def table(self) -> pd.DataFrame:
        """One row a run.

        Columns: `run`, `recipe`, `split` (`LEAKY` where test subjects were in training), `auroc` of cells,
        `subject_weighted_auroc` (all subject groups of a class have the same weight) and `subject_auroc` (of the mean
        score of each subject), each with `_low` and `_high`, the 95% interval; then, of cells at the threshold 0.5,
        `balanced_accuracy`, `sensitivity`, `specificity` and `weighted_f1`, and `training_seconds`.
        """
        return runs_table(self)

    @property
    def tests(self) -> pd.DataFrame:
        """One row a pair of runs, the run of higher AUROC first.

        Columns: `run`, `other_run`, `comparable` (False where only one of them had test subjects in training),
        `auroc_difference` of cells with its 95% interval `low` and `high`, `p` (swap test over subject groups),
        `significant` (both p-values are below 0.05), `detectable` (the smallest true difference that this
        cohort shows with 80% power), `equivalent` (the 90% interval lies within +-`margin`), `margin`, and the
        same for the AUROC in which all subjects have the same weight: `subject_weighted_difference`,
        `subject_weighted_low`, `subject_weighted_high`, `subject_weighted_p`, `subject_weighted_detectable`,
        `subject_weighted_equivalent`. Both p-values are corrected over the pairs by Holm's method.
        """
        return pairs_table(self)

    @property
    def cell_level_tests(self) -> pd.DataFrame:
        """One row a pair of runs: DeLong's and McNemar's tests, as other studies report them.

        Both assume independent cells. The cells of a subject are not, so that these tests find a difference between
        equal models in about half of all cohorts; use `tests`. Columns: `run`, `other_run`, `delong_p`,
        `only_run_correct` and `only_other_correct` (cells at the threshold 0.5) and `mcnemar_p`, corrected by Holm's
        method.
        """
        return cell_level_table(self)

    @property
    def agreement(self) -> pd.DataFrame:
        """One row a pair of runs: whether they err on the same cells, so whether `combine` can pay.

        Columns: `run`, `other_run`; `score_correlation` (Spearman's, within a class, the mean over both classes);
        at the threshold 0.5: `kappa` (Cohen's, of the predicted classes), `error_correlation` (of being wrong: 1 if
        both err on the same cells, 0 if independently), the numbers of cells that only the one, only the other and both
        classify wrongly (`only_run_wrong`, `only_other_wrong`, `both_wrong`), the balanced accuracy of each
        (`balanced_accuracy`, `other_balanced_accuracy`), and `oracle_balanced_accuracy`: that of an oracle that takes
        the right one of the two classes where they differ, which no combination of classes exceeds. NaN where a
        correlation is not defined.
        """
        return agreement_table(self)

    @property
    def by_subject(self) -> pd.DataFrame:
        """One row for each run and subject.

        Columns: `run`, `subject`, `subject_group`, `label`, `cells`, `mean_score` with its 95% interval `low` and
        `high` (over the cells of the subject, see `leukobench.results.subject_scores`), the share of its cells that are
        predicted correctly (`correct_at_half`) and the class of its mean score (`predicted_at_half`) at 0.5, and the
        same at the threshold chosen on validation (`correct_at_chosen`, `predicted_at_chosen`).
        """
        return subjects_table(self)

    @property
    def referral(self) -> pd.DataFrame:
        """Error among the cells that are answered if the most doubtful ones are referred to a person.

        Columns: `run`; `order`, the cells referred first: by `certainty` those of scores near 0.5, by `novelty` those
        unlike the training cells, where the run stores it; `referred` share, from 0 to 0.5; `error` of the other cells
        at the threshold 0.5, and `subject_weighted_error`, with the classes and their subject groups weighted equally.
        """
        return referral_table(self)

    @property
    def settling(self) -> pd.DataFrame:
        """How good the mean score of a subject group is if only few of its cells are known.

        Columns: `run`, `cells` (largest number of cells of each subject group, drawn at random), `subject_auroc` and
        `balanced_accuracy` at the threshold 0.5, means over 30 draws.
        """
        return settling_table(self)

    def figures(self) -> dict[str, Figure]:
        """Draw every figure of the report, by name: `auroc`, `roc`, `precision_recall`, `calibration`, `scores`,
        `subjects`, `referral`, `settling`, `decision`, and `training` and importances where the run folders hold them.

        Raises:
            InputError: a table of importances cannot be read.
        """
        from leukobench.comparison.plots import draw_figures  # here: matplotlib is imported only to draw

        return draw_figures(self, self.referral, self.settling)

    def report(self, folder: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Path:
        """Write the report: `report.html`, `table.csv`, `.md` and `.tex`, `subjects.csv`, `referral.csv`,
        `settling.csv`, `methods.txt`, and figures as PNG and SVG.

        Args:
            folder: Folder to write; it must not exist yet.
            images: Folder of the images, to show the most confidently misclassified cells.

        Returns:
            The path of `report.html`.

        Raises:
            InputError: the folder exists, or an image or a table of importances cannot be read.
        """
        from leukobench.comparison.report import write_report  # here: it imports matplotlib, jinja2 and OpenCV

        return write_report(self, Path(folder), images=None if images is None else Path(images))


def compare(
    runs: Sequence[RunFolder | str | os.PathLike[str]],
    *,
    common: bool = False,
    allow_leaky: bool = False,
    sensitivity: float | None = None,
    margin: float = MARGIN,
) -> Comparison:
    """Compare runs on the test images that they share.

    Every metric comes with a confidence interval over subject groups, and the difference in AUROC of each pair with an
    interval and a permutation test over subject groups, corrected over all pairs by Holm's method; see
    `estimate_metric` and `compare_scores`. Of a cross-validation, the AUROC compares cells within a fold only. The
    intervals are conditional on the trained models: they tell how the metrics vary with the test subjects. How they
    vary with the split and the seed is seen by repeats of a cross-validation.

    Args:
        runs: Complete run folders, as `Run` objects or paths; they must have been tested on the same images. A folder
            that contains the run folders `repeat_0`, `repeat_1` and so on is a repeated cross-validation. Beside at
            least one run folder, also tables (CSV) of the scores of other models: `path`, `label`, `score` (the
            probability of `all`) and, to be checked, `subject`.
        common: Whether to compare on the images that all runs were tested on, and leave the others out.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level
            split.
        sensitivity: Sensitivity that the threshold chosen on validation must reach there, in (0, 1]; None: the
            threshold of the highest Youden's J.
        margin: Margin of equivalence of two AUROCs, above 0.

    Returns:
        The comparison: `table`, `tests`, `by_subject`, `figures()`, `report(folder)`.

    Raises:
        InputError: no run, a run folder that is incomplete or changed, or runs that may not be compared: different test
            images, labels, manifests, backgrounds, folds or repeats, or a run whose parts share subjects beside one
            with a subject-level split.

    Source:
        Obuchowski 1997, Biometrics 53:567 (variance for clustered data); Holm 1979, Scand. J. Stat. 6:65.

    Example:
        >>> import tempfile
        >>> import numpy as np, pandas as pd
        >>> from leukobench.results.run import predictions_table, write_run
        >>> from leukobench.results.run_info import RunInfo
        >>> subject = pd.Series(np.repeat(np.arange(30), 5)).astype(str)
        >>> rows = pd.DataFrame({"path": [f"{cell}.bmp" for cell in range(150)], "subject": subject})
        >>> label = np.where(np.arange(150) // 5 % 2, "all", "hem")
        >>> rows = rows.assign(subject_group=subject, label=label, part="test")
        >>> info = RunInfo(
        ...     family="svm", recipe="example", parameters={}, background="black", seed=0, split="subject test=0.2",
        ...     leaky=False, shared_subject_groups=0, checksums={"manifest": "0" * 16},
        ...     seconds={"fit": 1.0, "predict": 0.1}, command=("leukobench", "train-svm"),
        ... )
        >>> runs = []
        >>> folder = tempfile.TemporaryDirectory()
        >>> for name, shift in (("good", 2.0), ("poor", 0.5)):
        ...     logit = np.random.default_rng(0).normal(size=150) + shift * (label == "all")
        ...     predictions = predictions_table(rows, 1 / (1 + np.exp(-logit)))
        ...     runs.append(write_run(Path(folder.name) / name, info, predictions, lambda folder: None))
        >>> comparison = compare(runs)
        >>> comparison.table["run"].tolist()
        ['good', 'poor']
        >>> comparison.tests[["run", "other_run", "significant"]].values.tolist()
        [['good', 'poor', True]]
        >>> folder.cleanup()
    """
    if isinstance(runs, RunFolder | str | os.PathLike):
        raise InputError("runs: is one run; give a list of runs")
    if not runs:
        raise InputError("runs: is empty; give at least one run")
    if not margin > 0:
        raise InputError(f"margin={margin}: must be above 0, such as {MARGIN}")
    begun = time.monotonic()
    assessed = assess(_read(runs), common=common, allow_leaky=allow_leaky, sensitivity=sensitivity, margin=margin)
    shown = f"{counted(len(assessed.runs), 'run')} on {counted(len(assessed.rows), 'cell')}"
    LOG.info("compared %s in %.1f s", shown, time.monotonic() - begun)
    return Comparison(**vars(assessed))


def _read(runs: Sequence[RunFolder | str | os.PathLike[str]]) -> list[list[RunFolder]]:
    """Read the repeats of each run; tables of scores with the help of the first run folder."""
    tables = [None if isinstance(run, RunFolder) or not Path(run).is_file() else Path(run) for run in runs]
    folders = [_read_repeats(run) for run, table in zip(runs, tables, strict=True) if table is None]
    if not folders:
        raise InputError(
            f"{tables[0]}: is a table of scores; compare it with at least one run folder, which gives subject groups"
        )
    rest = iter(folders)
    return [next(rest) if table is None else [read_other_model(table, folders[0][0])] for table in tables]


def _read_repeats(run: RunFolder | str | os.PathLike[str]) -> list[RunFolder]:
    """Read a run folder, or the run folders of a repeated cross-validation in a folder."""
    if isinstance(run, RunFolder):
        return [run]
    repeats = sorted(Path(run).glob("repeat_*"), key=lambda folder: natural_order(folder.name))
    return [read_run_folder(folder) for folder in repeats or [Path(run)]]
