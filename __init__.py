"""leukobench: handcrafted features and deep networks for leukemic cells, compared on the same subjects.

The names in `__all__` are the public API; each is loaded when it is used, so that importing the package is quick. All
other modules are private and may change.

Example:
    >>> import leukobench as lb
    >>> manifest = lb.read_manifest()  # every file of C-NMC 2019
    >>> partition = lb.split(manifest, "official")
    >>> len(partition.part("test"))
    1867
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"

_MODULES = {  # the module of each public name
    "BlastClassifier": "classifiers.estimator",
    "Cell": "cells.cell",
    "CellFeatures": "features.transformer",
    "Comparison": "comparison.runs",
    "InputError": "core.errors",
    "Run": "workflows.runs",
    "SubjectKFold": "cohort.splitters",
    "SubjectSplit": "cohort.splitters",
    "audit": "cohort.audit",
    "bootstrap_metric": "comparison.scores",
    "combine": "workflows.runs",
    "compare": "comparison.runs",
    "compare_scores": "comparison.scores",
    "croissant": "cohort.croissant",
    "estimate_metric": "comparison.scores",
    "export_onnx": "workflows.export",
    "extract": "features.extractor",
    "extract_features": "features.dataframe",
    "find_near_duplicates": "cohort.near_duplicates",
    "generate_cohort": "cohort.synthetic",
    "index_folder": "cohort.indexing",
    "load_run": "workflows.runs",
    "measure": "features.measurement",
    "read_cell": "cells.cell",
    "read_manifest": "cohort.manifest",
    "read_ties": "cohort.ties",
    "segment_images": "workflows.segmentation",
    "split": "cohort.splitting",
    "train_classifier": "workflows.runs",
    "train_network": "workflows.runs",
    "write_manifest": "cohort.manifest",
    "write_split": "cohort.partition",
}

__all__ = [
    "BlastClassifier",
    "Cell",
    "CellFeatures",
    "Comparison",
    "InputError",
    "Run",
    "SubjectKFold",
    "SubjectSplit",
    "audit",
    "bootstrap_metric",
    "combine",
    "compare",
    "compare_scores",
    "croissant",
    "estimate_metric",
    "export_onnx",
    "extract",
    "extract_features",
    "find_near_duplicates",
    "generate_cohort",
    "index_folder",
    "load_run",
    "measure",
    "read_cell",
    "read_manifest",
    "read_ties",
    "segment_images",
    "split",
    "train_classifier",
    "train_network",
    "write_manifest",
    "write_split",
]

if TYPE_CHECKING:
    from leukobench.cells.cell import Cell, read_cell
    from leukobench.classifiers.estimator import BlastClassifier
    from leukobench.cohort.audit import audit
    from leukobench.cohort.croissant import croissant
    from leukobench.cohort.indexing import index_folder
    from leukobench.cohort.manifest import read_manifest, write_manifest
    from leukobench.cohort.near_duplicates import find_near_duplicates
    from leukobench.cohort.partition import write_split
    from leukobench.cohort.splitters import SubjectKFold, SubjectSplit
    from leukobench.cohort.splitting import split
    from leukobench.cohort.synthetic import generate_cohort
    from leukobench.cohort.ties import read_ties
    from leukobench.comparison.runs import Comparison, compare
    from leukobench.comparison.scores import bootstrap_metric, compare_scores, estimate_metric
    from leukobench.core.errors import InputError
    from leukobench.features.dataframe import extract_features
    from leukobench.features.extractor import extract
    from leukobench.features.measurement import measure
    from leukobench.features.transformer import CellFeatures
    from leukobench.workflows.export import export_onnx
    from leukobench.workflows.runs import Run, combine, load_run, train_classifier, train_network
    from leukobench.workflows.segmentation import segment_images


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'leukobench' has no attribute {name!r}")
    value = getattr(import_module(f"leukobench.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
