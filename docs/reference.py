"""Writes the pages of `docs/reference/` from the code: features, recipes, commands, file formats, Python interface.

    python docs/reference.py            # write them
    python docs/reference.py --check    # say which are not current; exit code 1 if there are any

The pages are in the repository, so that they can be read there. A test calls `outdated`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import click

import leukobench
from leukobench.classifiers.recipes import RECIPES as CLASSICAL
from leukobench.cli import COMMANDS
from leukobench.cli import main as main_command
from leukobench.cnn.recipe_catalog import RECIPES as NETWORKS
from leukobench.cohort import croissant_record, manifest, partition, ties
from leukobench.comparison import other_models, referral, settling
from leukobench.comparison.tables import PAIR_COLUMNS
from leukobench.core.text import markdown_cell
from leukobench.features.catalog import DEFAULT_SET, SETS, VERSION, Feature, features_of, settings_of
from leukobench.results import failures, feature_table, novelty, run, run_info, subject_scores
from leukobench.workflows import segmentation

FOLDER = Path(__file__).resolve().parent / "reference"
NOTICE = "<!-- Written by docs/reference.py from the code. Do not edit. -->"
DASH = "-"

# Features whose names fit the pattern: what their values are compared with, and the test that does it. The first fits.
CHECKS = (
    (r"texture_energy_d\d+", "scikit-image", "test_texture_of_a_filled_rectangle_equals_scikit_image"),
    (
        r"texture_(contrast|inverse_difference_moment|angular_second_moment|correlation|dissimilarity)_d\d+_range",
        "scikit-image",
        "test_texture_of_a_filled_rectangle_equals_scikit_image",
    ),
    (r"texture_.*_d\d+_range", "values by direction: IBSI phantom", "test_the_phantom_has_its_published_values"),
    (
        r"texture_(angular_second_moment|contrast|correlation|joint_variance|inverse_difference_moment|sum_variance"
        r"|sum_entropy|joint_entropy|difference_entropy|information_correlation_[12])_d\d+",
        "IBSI phantom; mahotas",
        "test_haralick_s_features_of_a_drawn_cell_equal_mahotas",
    ),
    (r"texture_.*_d\d+", "IBSI phantom", "test_the_phantom_has_its_published_values"),
    (r"texture_local_entropy", "scikit-image", "test_local_entropy_equals_scikit_image"),
    (r"texture_lbp_.*", "scikit-image", "test_binary_patterns_equal_scikit_image"),
    (r"texture_(gradient|laplacian)_.*", "SciPy; plane and bowl", "test_derivatives_of_noise_equal_scipy"),
    (
        r"statistics_(mean|variance|skewness|kurtosis|entropy)",
        "IBSI phantom; SciPy",
        "test_the_intensities_of_the_phantom_have_their_published_values",
    ),
    (r"statistics_gradient_.*", "NumPy, SciPy; a ramp", "test_gradient_of_noise_equals_numpy"),
    (r"statistics_(mean)_[xy]", "a rectangle", "test_projection_of_a_rectangle_is_uniform"),
    (
        r"statistics_(variance|skewness)_[xy]",
        "scikit-image; a triangle",
        "test_projections_of_a_drawn_cell_equal_scikit_image",
    ),
    (r"statistics_median_filter_mean", "scikit-image", "test_the_median_filter_equals_scikit_image"),
    (r"color_.*_hue", "scikit-image, SciPy", "test_hue_is_an_angle"),
    (
        r"color_mean_(red|green|blue)|color_\w+_(red|green|blue)",
        "SciPy, NumPy",
        "test_a_channel_s_distribution_equals_scipy",
    ),
    (r"color_mean", "a cell of one colour", "test_colour_is_the_mean_of_each_channel_inside_the_cell"),
    (
        r"color_(mean|std|p\d+)_.*",
        "scikit-image",
        "test_grey_hsv_and_lab_equal_scikit_image_to_the_rounding_of_8_bits",
    ),
    (r"color_(skewness|kurtosis)_.*", "known distributions", "test_moments_and_entropy_of_known_distributions"),
    (r"geometry_perimeter", "scikit-image", "test_crofton_s_perimeter_equals_scikit_image"),
    (
        r"geometry_(area|eccentricity|solidity|feret_max|radius|box_rectangularity|hu_\d)",
        "scikit-image",
        "test_shape_of_a_drawn_cell_equals_scikit_image",
    ),
    (r"geometry_(feret_min)", "a triangle, an ellipse", "test_feret_diameters_of_a_triangle"),
    (r"geometry_concavity", "a notch of known depth", "test_a_notch_is_as_deep_as_it_was_cut"),
    (r"geometry_symmetry_.*", "a triangle", "test_symmetry_tells_the_axes_and_the_half_turn_apart"),
    (
        r"geometry_(fourier_\d|radial_deviation)",
        "outlines of known lobes",
        "test_lobes_show_in_their_own_harmonic",
    ),
    (r"geometry_roughness", "an outline of known lobes", "test_what_is_finer_than_eight_lobes_is_roughness"),
    (
        r"geometry_(longer_side|rectangularity|elongation|box_elongation|box_ratio)",
        "a rectangle",
        "test_a_rectangle_fills_its_box_and_is_convex",
    ),
    (r"geometry_(compactness|circularity|convexity)", "a disk", "test_a_disk_has_the_shape_of_a_disk"),
)

FAMILIES = {"color": "Colour", "geometry": "Geometry", "texture": "Texture", "statistics": "Statistics"}
OF_MANIFEST = {name: means for name, (_, means) in croissant_record._IMAGE_FIELDS.items()} | {
    "original_name": "name of the file before the challenge renamed it; empty for other images",
}
OF_TIES = {name: means for name, (_, means) in croissant_record._TIE_FIELDS.items()}
OF_PARTITION = {
    "path": OF_MANIFEST["path"],
    "part": "`train`, `validation` or `test`",
    "label": "`all` or `hem`",
    "subject": OF_MANIFEST["subject"],
    "subject_group": OF_MANIFEST["subject_group"],
    "method": "the split method with its arguments, the same in every row; LEAKY if parts share subjects",
    "manifest": "first 16 digits of the SHA-256 of the manifest",
}
OF_PREDICTIONS = {
    "path": OF_MANIFEST["path"],
    "subject": OF_MANIFEST["subject"],
    "subject_group": OF_MANIFEST["subject_group"],
    "label": "`all` or `hem`",
    "part": "`train` (not of a cross-validation), `validation` or `test`",
    "fold": "fold of the cross-validation; empty without one",
    "raw_score": "the model's own probability of `all`",
    "score": "probability of `all`, calibrated on the validation part",
    "predicted": "`all` if `score` is at least 0.5, else `hem`",
}
OF_FAILURES = {"path": "image file", "reason": "why it could not be read or measured"}
OF_NOVELTY = {
    "path": "image file",
    "fold": "fold of the cross-validation; empty without one",
    "novelty": "distance from the training cells; above 1 is out-of-distribution",
}
OF_NEW_IMAGES = {
    "path": "image file",
    "score": OF_PREDICTIONS["score"],
    "predicted": OF_PREDICTIONS["predicted"],
    "novelty": OF_NOVELTY["novelty"],
    "out_of_distribution": "whether `novelty` is above 1",
    "refer": "whether the cell is to be looked at by eye",
}
OF_OTHER_SCORES = {
    "path": "as in the manifest",
    "label": "`all` or `hem`",
    "score": "probability of `all`, from 0 to 1",
}
OF_PAIRS = {
    "run": "first run",
    "other_run": "second run",
    "comparable": "whether the two were tested in the same way",
    "auroc_difference": "AUROC of the first minus that of the second",
    "low": "lower bound of its 95% interval",
    "high": "upper bound of its 95% interval",
    "p": "p-value of the permutation test, Holm-corrected",
    "significant": "whether both corrected p-values are below 0.05",
    "detectable": "difference that these subjects would show with 80% power",
    "equivalent": "whether both 90% intervals lie within the margin",
    "margin": "margin of equivalence",
}
OF_SUBJECT_SCORES = {
    "subject": "subject ID",
    "cells": "number of cells",
    "score": "mean score of the cells",
    "low": "lower bound of its interval",
    "high": "upper bound of its interval",
    "predicted": "`all` or `hem`",
    "out_of_distribution": "share of out-of-distribution cells; only if `predictions.csv` has the column",
}
OF_METRICS = {
    "run": "name of the run",
    "recipe": "its recipe",
    "level": "`cells`, or `subjects` (the mean score of the cells of each)",
    "threshold": "threshold of the score (smallest to largest of the folds); empty for metrics without one",
    "threshold_from": "where the threshold comes from; empty for metrics without one",
    "metric": "name of the metric, or of a count of the confusion matrix",
    "value": "its value",
    "low": "lower bound of its 95% interval; empty without one",
    "high": "upper bound of its 95% interval; empty without one",
}
OF_SUBJECTS = {
    "run": "name of the run",
    "subject": OF_MANIFEST["subject"],
    "subject_group": OF_MANIFEST["subject_group"],
    "label": "`all` or `hem`",
    "cells": "number of test cells",
    "mean_score": "mean score of the cells",
    "low": "lower bound of its interval over the cells of the subject",
    "high": "upper bound of its interval over the cells of the subject",
    "correct_at_half": "share of the cells predicted correctly at the threshold 0.5",
    "predicted_at_half": "class of the mean score at 0.5",
    "correct_at_chosen": "the same share at the threshold chosen on validation; only if the first run has one",
    "predicted_at_chosen": "class of the mean score at that threshold",
}
OF_REFERRAL = {
    "run": "name of the run",
    "order": "which cells are referred first: `certainty` (score closest to 0.5) or `novelty`",
    "referred": "share of the cells that are referred to a person, 0 to 0.5",
    "error": "share of the other cells that are predicted wrongly",
    "subject_weighted_error": "the same with classes and subjects weighted equally",
}
OF_SETTLING = {
    "run": "name of the run",
    "cells": "largest number of cells that are drawn of each subject group",
    "subject_auroc": "AUROC of the mean scores of the subject groups, mean over the draws",
    "balanced_accuracy": "their balanced accuracy at the threshold 0.5, mean over the draws",
}
OF_CELLS = {
    "path": "image file",
    "cell": "number of the cell in its image, from 1",
    "left": "left side of its bounding box, in px from the left side of the image",
    "top": "upper side of its bounding box, in px from the upper side of the image",
    "width": "width of its bounding box in px",
    "height": "height of its bounding box in px",
    "x": "its centroid, in px from the left side of the image",
    "y": "its centroid, in px from the upper side of the image",
    "cell_area": "area of the whole cell in px^2",
    "nucleus_area": "area of its nucleus in px^2",
    "solidity": "area of the cell / area of its convex hull",
    "touches_border": "whether the cell touches the border of the image",
    "others": "number of other nuclei in the image; with `--all`, of other cells",
    "mask": "file of the mask in the folder",
    "cut_out": "file of the cut-out cell in the folder; empty without `--all`",
    "doubts": "reasons to look at the cell, with semicolons between them; empty if there is none",
}
OF_EXPLANATIONS = {
    "path": "image file",
    "score": OF_PREDICTIONS["score"],
    "predicted": OF_PREDICTIONS["predicted"],
    "reference_score": "mean score of the reference cells",
} | {family: f"contribution of the features of {name.lower()} to `score`" for family, name in sorted(FAMILIES.items())}
OF_FEATURES = {
    "feature": "name of the feature",
    "family": "its family",
    "value": "its value",
    "unit": "its unit; 1 if it has none",
    "percentile_all": "percentile of the value among the reference cells of the class `all`",
    "percentile_hem": "percentile of the value among the reference cells of the class `hem`",
    "contribution": "contribution to `score`",
    "standard_error": "standard error of the contribution",
}
OF_FAMILIES = {
    "family": "feature family",
    "features": "number of its features",
    "contribution": "sum of their contributions",
    "standard_error": "standard error of the sum",
}
OF_ATTRIBUTIONS = {
    "path": "image file",
    "score": OF_PREDICTIONS["score"],
    "predicted": OF_PREDICTIONS["predicted"],
    "attribution_on_background": "share of the attribution (Grad-CAM) on the background; empty without attribution",
    "background": "share of the background of the input",
}
OF_LAYERS = {
    "layer": "name of the layer",
    "type": "its type in Keras",
    "output": "size of its output",
    "parameters": "number of its parameters",
    "trained": "number of its parameters that are trained",
}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are not current."""
    if "--check" in arguments:
        stale = outdated()
        for name in stale:
            print(f"docs/reference/{name}: is not current; run python docs/reference.py", file=sys.stderr)
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8", newline="\n")
    return 0


def outdated() -> list[str]:
    """Return the names of the pages that differ from what the code says."""
    found = {name: FOLDER / name for name in PAGES}
    return [
        name for name, file in found.items() if not file.exists() or file.read_text(encoding="utf-8") != PAGES[name]()
    ]


def page(title: str, *blocks: str) -> str:
    """Return a page: title, notice, and its blocks with an empty line between them."""
    return "\n\n".join((f"# {title}", NOTICE, *blocks)) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""

    def line(cells: Iterable[object]) -> str:
        return f"| {' | '.join(markdown_cell(' '.join(str(cell).split())) for cell in cells)} |"

    return "\n".join([line(header), line("---" for _ in header), *map(line, rows)])


def code(text: object) -> str:
    """Return text in the font of code, or a dash for none."""
    return f"`{text}`" if str(text) else DASH


def checked_against(name: str) -> tuple[str, str]:
    """Return what the tests compare a feature with, and which test does."""
    for pattern, what, test in CHECKS:
        if re.fullmatch(pattern, name):
            return what, test
    raise LookupError(f"{name}: CHECKS does not say what its values are compared with")


def features_page() -> str:
    """All features: name, formula, unit, IBSI code, source, sets and the outside value."""
    known = {feature.name: feature for feature in features_of(DEFAULT_SET)}
    known |= {feature.name: feature for feature in features_of("clinton19") if feature.name not in known}
    distances = settings_of(DEFAULT_SET).distances
    first = f"_d{distances[0]}"
    shown = [
        f
        for f in known.values()
        if not re.search(r"_d\d+(_range)?$", f.name) or re.search(rf"{first}\b|{first}_", f.name)
    ]
    blocks = [
        f"Version {VERSION} of the catalogue. [How to extract them](../features.md). `leukobench features` prints the "
        "same on the command line.",
        "Symbols: R, G, B are the channels, I is the intensity (the channel of the settings), A the area and P the "
        "perimeter of the cell, p a probability in a co-occurrence matrix or a histogram. *Code* is that of the Image "
        "Biomarker Standardisation Initiative (IBSI, [arXiv 1612.07003](https://arxiv.org/abs/1612.07003)), if that "
        "defines the feature in the same way. *Checked against* names the outside value; the [tests](#tests) that "
        "compare with it are in [tests/features](../../tests/features).",
        f"Names with `_d1` are features of co-occurrence matrices at a distance of 1 px. The sets with several "
        f"distances have each of them for {', '.join(map(str, distances))} px (`_d1`, `_d2`, `_d4`).",
        "## Sets",
        table(
            ("set", "features", "settings"),
            (
                (code(name), len(features_of(name)), ", ".join(f"{k} {_value(v)}" for k, v in vars(settings).items()))
                for name, settings in SETS.items()
            ),
        ),
    ]
    for family in dict.fromkeys(feature.family for feature in shown):
        of_family = [feature for feature in shown if feature.family == family]
        blocks += [f"## {FAMILIES[family]}", _feature_table(of_family)]
    return page("Features", *blocks, "## Tests", _test_table(shown))


def _feature_table(shown: Iterable[Feature]) -> str:
    header = ("name", "formula", "unit", "code", "source", "sets", "checked against")
    return table(
        header,
        (
            (
                code(f.name),
                f.formula,
                f.unit,
                code(f.ibsi),
                f.source,
                "all" if set(f.sets) == set(SETS) else ", ".join(f.sets),
                checked_against(f.name)[0],
            )
            for f in shown
        ),
    )


def _test_table(shown: Iterable[Feature]) -> str:
    names: dict[tuple[str, str], list[str]] = {}
    for feature in shown:
        names.setdefault(checked_against(feature.name), []).append(feature.name)
    return table(
        ("checked against", "test", "features"),
        (
            (what, code(test), code(of[0]) + f" and {len(of) - 1} more" * (len(of) > 1))
            for (what, test), of in names.items()
        ),
    )


def _value(value: Any) -> str:
    """Return the value of a setting as text."""
    if value is None:
        return "native"
    return " and ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def recipes_page() -> str:
    """Recipes of classifiers and of networks, with every value."""
    blocks = [
        "A recipe is a named set of all settings of a model. `leukobench recipes NAME` prints one, and for a network "
        "the numbers of its parameters and layers. [How to train them](../models.md).",
        "## SVM and k-NN",
        table(
            ("recipe", "family", "description", "reported by its source"),
            ((code(r.name), r.family, r.description, _reported(r.reported)) for r in CLASSICAL.values()),
        ),
        "## Networks",
        table(
            ("recipe", "network", "description", "reported by its source"),
            ((code(r.name), code(r.architecture), r.description, r.reported or DASH) for r in NETWORKS.values()),
        ),
    ]
    for recipe in (*CLASSICAL.values(), *NETWORKS.values()):
        values = recipe.as_json()
        rows = [
            (code(name), _shown(value))
            for name, value in values.items()
            if name not in {"name", "description", "reported"} and value not in (None, "", {}, [])
        ]
        blocks += [f"### {recipe.name}", f"{recipe.description}.", table(("value", "of this recipe"), rows)]
    return page("Recipes", *blocks)


def _reported(metrics: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in metrics.items()) or DASH


def _shown(value: Any) -> str:
    """Return a value of a recipe as one line."""
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_shown(of)}" for name, of in value.items() if of not in (None, "")) or DASH
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)


def commands_page() -> str:
    """Every command with every option."""
    found = {name: main_command.get_command(click.Context(main_command), name) for name in COMMANDS}
    blocks = [
        "`leukobench COMMAND --help` prints the same. [leukobench.toml](../index.md#options-that-you-give-every-time) "
        "holds values of options that you give every time. A command that fails prints one line and ends with exit "
        "code 1; wrong options end with 2.",
        table(
            ("command", "what it does"),
            ((f"[`{name}`](#{name})", _first_sentence(of)) for name, of in found.items() if of),
        ),
    ]
    blocks += ["These options stand before the command:", _options(main_command)]
    for name, command in found.items():
        assert command is not None
        arguments = " ".join(_usage(p) for p in command.params if isinstance(p, click.Argument))
        blocks += [f"## {name}", f"    leukobench {' '.join(filter(None, (name, '[OPTIONS]', arguments)))}"]
        blocks += list(_paragraphs(command.help or ""))
        if any(isinstance(p, click.Option) for p in command.params):
            blocks.append(_options(command))
    return page("Commands", *blocks)


def _options(command: click.Command) -> str:
    """Return a table of the options of a command."""
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return table(("option", "value", "meaning"), ((_names(o), _takes(o), _option_help(o)) for o in options))


def _first_sentence(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _usage(argument: click.Argument) -> str:
    name = (argument.metavar or (argument.name or "")).upper() + "..." * (argument.nargs == -1)
    return name if argument.required else f"[{name}]"


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that click keeps as they are (after \\b) as code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            yield "\n".join(f"    {line}".rstrip() for line in lines)
        elif paragraph.strip():
            yield " ".join(paragraph.split()).replace("<", "&lt;")


def _names(option: click.Option) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _takes(option: click.Option) -> str:
    if option.is_flag:
        return DASH
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    return code(option.metavar or option.type.name.upper().removesuffix(" RANGE"))


def _option_help(option: click.Option) -> str:
    notes = ["required"] if option.required else []
    if option.show_default and isinstance(option.default, str | int | float) and not isinstance(option.default, bool):
        notes.append(f"default: `{option.default}`")
    if option.multiple and "several times" not in (option.help or ""):
        notes.append("can be repeated")
    return " ".join(filter(None, ((option.help or "").replace("<", "&lt;"), f"({'; '.join(notes)})" if notes else "")))


def formats_page() -> str:
    """The columns of the CSV files, and the keys of the JSON files."""
    _same(manifest.COLUMNS, OF_MANIFEST)
    described = (
        ("Manifest", "`manifest.csv`: one row an image.", manifest.COLUMNS, OF_MANIFEST),
        ("Ties", "`manifest.ties.csv`: one row a pair of images that joins two subject IDs.", ties.COLUMNS, OF_TIES),
        (
            "Partition",
            "`split.csv`, or `fold_0.csv` and so on in a folder: one row an image.",
            partition.COLUMNS,
            OF_PARTITION,
        ),
    )
    blocks = [
        "All tables are CSV in UTF-8 with commas; missing values are empty. Paths are relative to the image folder, "
        "with forward slashes. A file of another version of a format is refused with one line that says what to do.",
    ]
    for title, about, columns, means in described:
        blocks += _section(title, about, columns, means)
    blocks += [
        "## Feature table",
        f"`features.csv` or `features.parquet`, format {feature_table.FORMAT}: the column `path`, then one column for "
        "each [feature](features.md). Beside it:",
        "`features.csv.json` says how the cells were measured:",
        _attributes(feature_table.TableFacts, {feature_table.CHECKSUM: "SHA-256 of the table"}),
    ]
    blocks += _section(
        "List of failures",
        "`NAME.failures.csv`, only if images failed: beside a feature table or predictions.",
        failures.COLUMNS,
        OF_FAILURES,
    )
    blocks += [
        "## Run folder",
        f"Format {run_info.FORMAT}. [Its files](../models.md#the-run-folder). `run.json` has these keys:",
        _attributes(run_info.RunInfo, {}),
    ]
    blocks += _section(
        "Predictions of a run", "`predictions.csv` in a run folder.", run.PREDICTION_COLUMNS, OF_PREDICTIONS, "###"
    )
    blocks += _section("Novelty of a run", "`novelty.csv` in a run folder.", novelty.COLUMNS, OF_NOVELTY, "###")
    blocks += _section(
        "Scores of another model",
        "A table that `compare` takes beside run folders.",
        other_models.COLUMNS,
        OF_OTHER_SCORES,
    )
    blocks += [
        "## Predictions of new images",
        "`predictions.csv` of `predict`: one row an image. `novelty` and `out_of_distribution` are there if the run "
        "stores the distribution of its training cells, `refer` with `--refer` or `--sensitivity`. "
        "The contact sheet of `--html` is one page that needs no other file.",
        table(("column", "content"), ((code(name), means) for name, means in OF_NEW_IMAGES.items())),
    ]
    blocks += _section(
        "Scores of subjects",
        "`predictions.subjects.csv` of `predict`, where subjects are known: one row a subject.",
        (*subject_scores.COLUMNS, "out_of_distribution"),
        OF_SUBJECT_SCORES,
    )
    weighted = {
        name: f"`{name.removeprefix('subject_weighted_')}` with subjects weighted equally"
        for name in PAIR_COLUMNS
        if name.startswith("subject_weighted_")
    }
    blocks += _section("Pairs of runs", "`Comparison.tests` in Python.", PAIR_COLUMNS, OF_PAIRS | weighted)
    return page("File formats", *blocks, *_written_by_compare(), *_written_by_segment(), *_written_by_explain())


def _written_by_compare() -> list[str]:
    """What is in the folder of a report."""
    files = {
        "report.html": "the report; it needs no other file",
        "summary.html": "one page to print: verdict, main metrics, cautions and limits",
        "table.csv": "every metric as a number, see below",
        "table.md, table.tex": "the same in Markdown and in LaTeX",
        "subjects.csv": "scores of the test subjects",
        "referral.csv": "error of the cells that are not referred",
        "settling.csv": "how the scores of subjects vary with their number of cells",
        "methods.txt": "a paragraph on the methods, for a paper",
        "auroc, roc, precision_recall, calibration, decision, scores, subjects, referral, settling": "figures",
        "training": "figure of the trainings, only if a run is of a network",
        "importance_N, importance_by_family_N": "figures of the importance, only if run N has it",
    }
    tables = (
        ("table.csv", "one row a metric.", OF_METRICS, OF_METRICS),
        ("subjects.csv", "one row a subject and run.", OF_SUBJECTS, OF_SUBJECTS),
        ("referral.csv", "one row a run, order and share.", referral.COLUMNS, OF_REFERRAL),
        ("settling.csv", "one row a run and number of cells.", settling.COLUMNS, OF_SETTLING),
    )
    return [
        "## Report of a comparison",
        "The folder that `compare` writes. Figures are PNG and SVG.",
        _files(files),
        *_tables("compare", tables),
    ]


def _written_by_segment() -> list[str]:
    """What is in the folder of segmented smears."""
    files = {
        "masks/": "a PNG for each image, of its size: 255 in the cell (or nucleus), 0 elsewhere",
        "cells.csv": "the cells, see below",
        "overlay.html": "the outlines of cell and nucleus on each image, the most doubtful first",
        "cut_out/": "each cell on black, only with `--all`",
        "cells.csv.failures.csv": "[list of failures](#list-of-failures), only if images failed",
    }
    tables = (("cells.csv", "one row a cell.", segmentation.COLUMNS, OF_CELLS),)
    return ["## Segmented smears", "The folder that `segment` writes.", _files(files), *_tables("segment", tables)]


def _written_by_explain() -> list[str]:
    """What is in the folder of explanations."""
    files = {
        "explanations.csv": "the explained images, see below",
        "NNN_NAME/": "for each image, unless `--brief`: its number and name. In it:",
        "contributions": "SVM and k-NN: figure (.png, .svg) of the contributions",
        "features.csv, families.csv": "SVM and k-NN: contributions of features, and of their families",
        "grad_cam": "networks: figure (.png) of the attribution",
        "layers/": "networks, only with `--maps`: the feature maps of every layer as PNG",
        "summary.csv": "networks: the layers",
        "diagram": "networks: figure (.png, .svg) of the layers",
    }
    tables = (
        ("explanations.csv", "of SVM and k-NN, one row an image.", OF_EXPLANATIONS, OF_EXPLANATIONS),
        ("features.csv", "one row a feature.", OF_FEATURES, OF_FEATURES),
        ("families.csv", "one row a feature family.", OF_FAMILIES, OF_FAMILIES),
        ("explanations.csv", "of networks, one row an image.", OF_ATTRIBUTIONS, OF_ATTRIBUTIONS),
        ("summary.csv", "one row a layer.", OF_LAYERS, OF_LAYERS),
    )
    about = "The folder that `explain` writes. Of a combined run it holds such a folder for each combined run."
    return ["## Explanations", about, _files(files), *_tables("explain", tables)]


def _files(of: dict[str, str]) -> str:
    rows = ((", ".join(map(code, names.split(", "))), content) for names, content in of.items())
    return table(("file", "content"), rows)


def _tables(command: str, of: Iterable[tuple[str, str, Iterable[str], dict[str, str]]]) -> Iterator[str]:
    """Yield the columns of the tables that a command writes: name, what a row is, columns and their content."""
    for name, rows, columns, means in of:
        _same(columns, means)
        yield f"`{name}` of `{command}`: {rows}"
        yield table(("column", "content"), ((code(column), means[column]) for column in columns))


def _section(title: str, about: str, columns: Iterable[str], means: dict[str, str], level: str = "##") -> list[str]:
    _same(columns, means)
    return [f"{level} {title}", about, table(("column", "content"), ((code(name), means[name]) for name in columns))]


def _same(columns: Iterable[str], means: dict[str, str]) -> None:
    if set(columns) != set(means):
        raise LookupError(f"columns and their descriptions differ: {sorted(set(columns) ^ set(means))}")


def _attributes(of: Any, others: dict[str, str]) -> str:
    """Return the keys of a record, from the attributes in its docstring."""
    described = dict(_entries(_sections(inspect.getdoc(of) or "")["Attributes"]))
    rows = [(code(field.name), described[field.name]) for field in fields(of)]
    return table(("key", "content"), [*rows, *((code(name), means) for name, means in others.items())])


def api_page() -> str:
    """Every public name with its signature and docstring."""
    names = [name for name in leukobench.__all__ if not name.startswith("__")]
    blocks = [
        "`import leukobench as lb`. [An overview](../api.md). Everything that is not on this page is private and may "
        "change.",
    ]
    for name in sorted(names, key=str.lower):
        value = getattr(leukobench, name)
        blocks += [f"## {name}", *_signature(name, value), *_docstring(value)]
        if inspect.isclass(value):
            for method, of in vars(value).items():
                about = inspect.getdoc(of)
                if method.startswith(("_", "set_")) or method in {"fit", "transform"} or not about:
                    continue
                if not (callable(of) or isinstance(of, property | cached_property)):
                    continue  # the default of an attribute
                called = _signature(method, of) if callable(of) else []
                blocks += [f"### {name}.{method}", *called, *_docstring(of)]
    return page("Python interface", *blocks)


def _signature(name: str, value: Any) -> list[str]:
    """Return how a function or class is called, as a block of code."""
    if inspect.isclass(value) and (issubclass(value, Exception) or name in {"Run", "Comparison"}):
        return []  # made by functions only
    given = inspect.signature(value)
    parts, starred = [], False
    for parameter in given.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        starred |= parameter.kind is parameter.VAR_POSITIONAL
        parts.append(str(parameter.replace(annotation=parameter.empty)))
    call = f"{name}({', '.join(parts)})"
    if len(call) > 100:
        call = f"{name}(\n{''.join(f'    {part},{chr(10)}' for part in parts)})"
    return [f"```python\n{call}\n```"]


def _docstring(value: Any) -> list[str]:
    """Return the docstring of a public name in Markdown."""
    blocks = []
    for title, text in _sections(inspect.getdoc(value) or "").items():
        if title in {"Args", "Attributes", "Raises"}:
            header = {"Args": "argument", "Attributes": "attribute", "Raises": "error"}[title]
            blocks.append(table((header, "meaning"), ((code(name), means) for name, means in _entries(text))))
        elif ">>> " in text:
            blocks += _examples(text)
        else:
            lead = f"**{title}:** " if title else ""
            blocks.append(lead + text.strip())
    return blocks


def _sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring by title; the first has none."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in text.splitlines():
        begins = re.fullmatch(
            r"(Args|Attributes|Returns|Raises|Source|Sources|Reference|Examples?|Note|Yields):(.*)", line
        )
        if begins:
            title = begins[1]
            said = begins[2].strip()  # on the line of the title
            found[title] = (
                [f"    {title}: {said}", ""] if said and title.startswith("Example") else [f"    {said}"] * bool(said)
            )
        else:
            found[title].append(line)
    return {name: inspect.cleandoc("\n".join(["", *lines])) for name, lines in found.items() if lines}


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield the entries of a section: name and meaning."""
    for entry in re.split(r"\n(?=\S)", text.strip("\n")):
        name, _, means = entry.partition(":")
        yield name.strip(), " ".join(means.split())


def _examples(text: str) -> list[str]:
    """Return examples: code with its output as blocks, the text between them as it is."""
    blocks = []
    for part in re.split(r"\n\s*\n", text):
        before, mark, session = part.partition(">>> ")
        if before.strip():
            blocks.append(" ".join(before.split()))
        if mark:
            blocks.append(f"```pycon\n{mark}{session}\n```")
    return blocks


PAGES: dict[str, Callable[[], str]] = {
    "features.md": features_page,
    "recipes.md": recipes_page,
    "commands.md": commands_page,
    "formats.md": formats_page,
    "api.md": api_page,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
