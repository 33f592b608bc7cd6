from __future__ import annotations

import html
import html.parser
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukobench.cohort.synthetic import generate_cohort
from leukobench.comparison.runs import compare
from leukobench.comparison.thumbnails import MOST, most_wrong
from tests.comparison.cohorts import make_rows, make_run
from tests.conftest import script_checksum
from tests.formats import assert_described

HISTORY = pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.7, 0.5, 0.4], "val_auroc": [0.6, 0.8, 0.7]})
SECTIONS = {"metrics", "curves", "subjects", "limits", "repeat", "checklist"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section that there is."""
    folder = tmp_path_factory.mktemp("report")
    truth = generate_cohort(folder / "images", subjects=12, cells_per_subject=3, seed=1)
    rows = truth[["path", "subject", "label"]].assign(subject_group=truth["subject"], part="test")
    published = {"source": "Someone 2020", "reported": "accuracy 99% in test (split by image)"}
    svm = make_run(folder / "<b>svm", rows=rows, folds=3, parameters=published)
    (svm.folder / "importance.csv").write_text("feature,importance,low,high\narea,0.2,0.1,0.3\nradius,0.1,-0.1,0.2\n")
    (svm.folder / "importance_by_family.csv").write_text("family,drop,low,high\ngeometry,0.2,,\ntexture,0.1,,\n")
    network = make_run(
        folder / "net", rows=rows, folds=3, seed=3, family="cnn", history=HISTORY, model_parameters=1_248_060
    )
    compare([svm.folder, network.folder]).report(folder / "report", images=folder / "images")
    return folder / "report"


class Page(html.parser.HTMLParser):
    """What a page holds: ids, links, sources, and tags left open."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.images += [values] if tag == "img" else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_well_formed_file_that_needs_no_network(report: Path) -> None:
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert text.count("<main>") == 1
    assert text.count('<table class="figures') == text.count("<caption>") - text.count('<table class="stack')
    assert "<th>" not in text  # every header says whether it is of a row or of a column
    assert SECTIONS | {"pairs", "wrong", "training", "importance", "papers"} == set(page.ids)
    assert set(page.links) <= {"data:,", *(f"#{name}" for name in page.ids)}
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in page.images)
    assert not re.search(r"https?://|@import|url\(", text)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script_checksum(script)};" in text
    )
    assert "&lt;b&gt;svm" in text
    assert "<b>svm" not in text
    assert "not a medical device" in text


def test_the_report_says_what_it_should(report: Path) -> None:
    text = " ".join((report / "report.html").read_text(encoding="utf-8").split())
    for fact in (
        "No significant difference between net and &lt;b&gt;svm on 12 subject groups",
        "they differ by",
        "would show a true difference of",
        "no significant difference; equivalence within 0.05 not shown",
        "The intervals are conditional on the trained models",
        "AUROC of a cross-validation.",
        "Tests that assume independent cells",
        "Not comparable: the published value comes from an image-level split",
        "accuracy 99% in test (split by image)",
        "1,248,060",
        "Metrics of each fold",
        "leukobench compare ",
        "predictions.csv <code>",
        "all: 18 cells of 6 subjects in 6 independent groups",
        "subject-level split: no subject group is in two parts",
    ):
        assert fact in text, fact
    verdict, table = text.index('<ul class="verdict">'), text.index("<table")
    assert verdict < table


def test_the_page_of_file_formats_describes_every_file(report: Path) -> None:
    assert_described(report, "compare", lacking=("correct_at_chosen", "predicted_at_chosen"))


def test_tables_and_figures_lie_beside_it(report: Path) -> None:
    figures = [
        "auroc",
        "calibration",
        "decision",
        "importance_1",
        "importance_by_family_1",
        "precision_recall",
        "roc",
        "scores",
    ]
    figures += ["subjects", "training", "referral", "settling"]
    expected = {f"{name}.{kind}" for name in figures for kind in ("png", "svg")}
    expected |= {
        "report.html",
        "summary.html",
        "subjects.csv",
        "referral.csv",
        "settling.csv",
        "methods.txt",
        "table.csv",
        "table.md",
        "table.tex",
    }
    assert {path.name for path in report.iterdir()} == expected
    for name in figures:
        with Image.open(report / f"{name}.png") as picture:
            assert picture.width == 864  # 5.4 inches at 160 dots
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10  # something is drawn
    assert pd.read_csv(report / "table.csv")["run"].unique().tolist() == ["<b>svm", "net"]


def test_a_report_without_extras_leaves_their_sections_out(tmp_path: Path) -> None:
    compare([make_run(tmp_path / "a").folder]).report(tmp_path / "report")
    assert set(Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8")).ids) == SECTIONS


@pytest.mark.filterwarnings("error")
def test_two_people_with_a_cell_each_are_compared_and_not_trusted(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / str(seed), groups=2, cells=1, seed=seed).folder for seed in range(2)]
    comparison = compare(runs)
    comparison.report(tmp_path / "report")
    assert comparison.few_groups == {"all": 1, "hem": 1}
    assert "there are no intervals" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_equal_runs_give_equal_reports(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "svm").folder
    for name in ("one", "two"):
        compare([folder]).report(tmp_path / name / "report")
    for file in (tmp_path / "one" / "report").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / "report" / file.name).read_bytes(), file.name


def test_ten_runs_fit_in_a_report(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"run-{number}", seed=number, cells=3).folder for number in range(10)]
    comparison = compare(runs)
    comparison.report(tmp_path / "report")
    assert len(comparison.differences) == 45
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    # the table has all pairs; those of the best run are on top, too
    assert text.count("no significant difference; ") + text.count(" is better<") == 45
    assert text.count("No significant difference between") + text.count(" is better than") == 9


def test_the_cells_shown_are_the_most_confidently_wrong(tmp_path: Path) -> None:
    rows = make_rows(4, 5)
    score = np.where(rows["label"] == "all", 0.9, 0.1)
    score[[0, 7, 13]] = 0.99, 0.2, 0.6  # H0_0 called all, 1_7 called hem, H2_13 called all
    comparison = compare([make_run(tmp_path / "a", rows=rows, score=score)])
    for number, path in enumerate(rows["path"]):
        picture = np.zeros((60, 60, 3), np.uint8)
        picture[15:45, 20:40] = 120, 60, 140 + number
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "images" / path)
    wrong = most_wrong(comparison, tmp_path / "images")["a"]
    assert [(cell.path, cell.label, cell.score) for cell in wrong] == [
        ("H0_0.bmp", "hem", 0.99),
        ("1_7.bmp", "all", 0.2),
        ("H2_13.bmp", "hem", 0.6),
    ]
    assert len(wrong) < MOST
    assert wrong[0].png.startswith(b"\x89PNG")
    shutil.copy(tmp_path / "images" / "H0_0.bmp", tmp_path / "images" / "H2_13.bmp")  # one image with two names
    assert [cell.path for cell in most_wrong(comparison, tmp_path / "images")["a"]] == ["H0_0.bmp", "1_7.bmp"]


def headless(browser: str, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ("gpu", "quic", "background-networking", "component-update", "sync", "dev-shm-usage")
    always = ("--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in quiet))
    command = [browser, *always, f"--user-data-dir={profile / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_renders_it_without_an_error(report: Path, tmp_path: Path, width: int, browser: str) -> None:
    # in a frame, because a window is never as narrow as a phone; the page measures itself: is anything wider than the
    # screen, and was every picture decoded?
    script = (
        "<script>addEventListener('load', () => { parent.document.title = JSON.stringify([innerWidth,"
        "document.documentElement.scrollWidth <= innerWidth,"
        "[...document.images].every(image => image.complete && image.naturalWidth > 0)]) })</script></body>"
    )
    text = (report / "report.html").read_text(encoding="utf-8").replace("</body>", script)
    added = script_checksum(script.removeprefix("<script>").removesuffix("</script></body>"))
    text = text.replace("script-src ", f"script-src {added} ")  # the page itself allows its own script only
    frame = f'<iframe width="{width}" height="800" frameborder="0" srcdoc="{html.escape(text)}"></iframe>'
    page = tmp_path / "page.html"
    page.write_text(f'<!doctype html><link rel="icon" href="data:,"><title>no</title>{frame}', encoding="utf-8")
    done = headless(browser, tmp_path, "--window-size=1400,900", "--enable-logging=stderr", "--dump-dom", page.as_uri())
    assert done.returncode == 0, done.stderr
    assert f"<title>[{width},true,true]</title>" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_the_summary_has_the_verdict_every_caution_and_limit_and_the_command(tmp_path: Path) -> None:
    report = tmp_path / "report"
    runs = [make_run(tmp_path / f"run-{seed}", seed=seed, groups=6, recipe="leukobench-svm") for seed in range(2)]
    compare([run.folder for run in runs]).report(report)
    text = (report / "summary.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.links == ["data:,"]
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in page.images)
    assert "script-src 'none'" in text
    whole = (report / "report.html").read_text(encoding="utf-8")
    sentences = re.findall(r"<li>(.*?)</li>", re.search(r'(?s)<ul class="verdict">.*?</ul>', whole)[0])
    cautions = re.findall(r'<p class="caution">(.*?)</p>', whole)
    assert len(sentences) > 1 and len(cautions) > 1
    assert all(f"<li>{each}</li>" in text for each in [*sentences[:4], *cautions])
    assert "cells a subject: in metrics of cells" in text
    assert "<code>leukobench compare" in text


@pytest.mark.parametrize("number", [2, 10])
def test_the_summary_prints_on_one_page_also_of_ten_runs(tmp_path: Path, number: int, browser: str) -> None:
    runs = [make_run(tmp_path / f"run-{seed}", seed=seed, cells=3, validation=True) for seed in range(number)]
    compare([run.folder for run in runs]).report(tmp_path / "report")
    pdf = tmp_path / "summary.pdf"
    summary = (tmp_path / "report" / "summary.html").as_uri()
    headless(browser, tmp_path, f"--print-to-pdf={pdf}", "--no-pdf-header-footer", summary)
    assert len(re.findall(rb"/Type /Page\b", pdf.read_bytes())) == 1


def test_the_alternative_texts_of_the_figures_have_their_values(tmp_path: Path) -> None:
    rows = make_rows(4, 5)
    right = np.where(rows["label"] == "all", 0.8, 0.1)
    wrong = right.copy()
    wrong[rows["subject"] == "H0"] = 0.9
    runs = [make_run(tmp_path / name, rows=rows, score=score) for name, score in (("a", right), ("b", wrong))]
    compare([run.folder for run in runs]).report(tmp_path / "report")
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    texts = [image["alt"] or "" for image in page.images]
    assert all(image["title"] == image["alt"] for image in page.images)
    for text in (
        "on the right side of 0.5: a 2 of 2 all and 2 of 2 hem, b 2 of 2 all and 1 of 2 hem",
        "medians: a 0.800 (all) and 0.100 (hem), b 0.800 (all) and 0.500 (hem)",
        "with 0% and with 20% of the cells referred: a 0.000 and 0.000, b 0.250 and ",
        "net benefit at the threshold 0.5: a 0.500, b 0.250",  # 10 of 20 cells; less 5 of 20
        "ROC curves; area under the curve: a 1.000",
    ):
        assert any(text in each for each in texts), text
