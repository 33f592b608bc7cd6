"""Every page that leukobench writes: axe-core finds no violation, wide or narrow, light or dark, and keys reach all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.audit import audit
from leukobench.cohort.audit_page import write_audit
from leukobench.cohort.manifest import read_manifest
from leukobench.comparison.runs import compare
from leukobench.workflows.benchmark import _write_page
from leukobench.workflows.prediction import predict
from leukobench.workflows.segmentation import segment_images
from leukobench.workflows.study_plan import Study, cohort_facts, steps
from tests.comparison.cohorts import make_run

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is missing")

PAGES = ("report", "summary", "audit", "contact-sheet", "segmentation", "study")


@pytest.fixture(scope="module")
def opened(browser: str) -> Iterator[playwright.Browser]:
    """The browser, running."""
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    images, manifest = cohort / "images", read_manifest(cohort / "manifest.csv")
    features, split = cohort / "features.csv", cohort / "split.csv"
    quick = {"n_neighbors": 5, "metric": "euclidean"}
    run = train_classifier(features, split, folder / "knn", recipe="leukobench-knn", settings=quick, jobs=2)
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5], "val_auroc": [0.6, 0.8]})
    rows = run.predictions[run.predictions["part"] == "test"]
    rows = rows[["path", "subject", "label", "subject_group", "part"]].reset_index(drop=True)
    published = {"source": "Someone 2020", "reported": "accuracy 99% in test (split by image)"}
    made = [
        make_run(folder / "2-svm", rows=rows, parameters=published, validation=True),
        make_run(folder / "network", rows=rows, seed=3, family="cnn", history=history, model_parameters=1_248_060),
    ]
    compare([each.folder for each in made]).report(folder / "report", images=images)
    first, *others = manifest.drop_duplicates("subject").index  # pass for one cell, also between the classes
    same = manifest.index.isin([others[0], others[-1]])
    copied = manifest.assign(sha256=manifest["sha256"].mask(same, manifest["sha256"][first]))
    write_audit(audit(copied, images=images), folder / "audit", manifest=copied, images=images)
    predict(run, images, folder / "predictions.csv", html=folder / "sheet.html", refer=0.2)
    smear = np.full((300, 300, 3), (202, 228, 250), np.uint8)
    cv2.ellipse(smear, (150, 150), (75, 60), 30, 0, 360, (190, 180, 200), cv2.FILLED)
    cv2.ellipse(smear, (158, 145), (45, 36), 30, 0, 360, (140, 55, 95), cv2.FILLED)
    (folder / "smears").mkdir()
    for name, picture in {"cell.png": smear, "empty.png": np.full_like(smear, 240)}.items():
        cv2.imwrite(str(folder / "smears" / name), picture)
    segment_images(folder / "smears", folder / "segmented")
    page = folder / "study" / "index.html"
    shutil.copytree(cohort, page.parent, ignore=shutil.ignore_patterns("images"))
    shutil.copytree(folder / "report", page.parent / "report")
    done = {"comparison": {"seconds": 3.2, "found": ["A verdict."]}, "svm": {"seconds": None, "found": ["left out: x"]}}
    of_cohort = Study(images, page.parent)
    _write_page(of_cohort, steps(of_cohort, cohort_facts(of_cohort)), done)
    return {
        "report": folder / "report" / "report.html",
        "summary": folder / "report" / "summary.html",
        "audit": folder / "audit" / "audit.html",
        "contact-sheet": folder / "sheet.html",
        "segmentation": folder / "segmented" / "overlay.html",
        "study": page,
    }


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(pages: dict[str, Path], opened: playwright.Browser, name: str) -> None:
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            context = opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
            page = context.new_page()
            page.goto(pages[name].as_uri())
            page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
            for choice in page.locator("input[value=no]").all()[:1]:  # of the audit
                choice.check()
            results = axe_playwright.Axe().run(page)
            assert results.response["passes"]
            assert results.violations_count == 0, f"{width} px, {scheme}: {results.generate_report()}"
            context.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything_that_scrolls_or_acts(
    pages: dict[str, Path], opened: playwright.Browser, name: str
) -> None:
    context = opened.new_context(viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(pages[name].as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    acting = "a[href], button, summary, input"
    reached: set[int] = set()
    expected = page.locator(acting).count()
    for _ in range(4 * expected + 20):
        page.keyboard.press("Tab")
        number = page.evaluate(f"[...document.querySelectorAll('{acting}')].indexOf(document.activeElement)")
        reached.add(number)
    radios = page.locator("input[type=radio]:not(:checked)").count()  # arrow keys reach these from the checked one
    assert len(reached - {-1}) >= expected - radios
    context.close()


def test_a_table_is_sorted_by_the_column_whose_header_is_pressed(
    pages: dict[str, Path], opened: playwright.Browser
) -> None:
    page = opened.new_page()
    page.goto(pages["report"].as_uri())
    table = page.locator("table", has=page.locator("caption", has_text="Confusion matrices"))
    table.locator("xpath=ancestor::details").evaluate_all("all => all.forEach(each => each.open = true)")
    before = table.locator("tbody tr").all_inner_texts()
    assert len(before) > 2
    for column in (0, 3):  # names, and counts such as 1,024
        header = table.locator("thead th").nth(column)
        for order, last_first in (("ascending", False), ("descending", True)):
            header.locator("button").focus()
            page.keyboard.press("Enter")
            assert header.get_attribute("aria-sort") == order
            shown = [text.split("\t")[column].strip() for text in table.locator("tbody tr").all_inner_texts()]
            values = [int(text.replace(",", "")) for text in shown] if column else shown
            assert values == sorted(values, reverse=last_first)
            assert len(set(values)) > 1
    assert sorted(table.locator("tbody tr").all_inner_texts()) == sorted(before)  # rows stay whole
    page.close()
