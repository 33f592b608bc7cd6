from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from leukobench.cohort.audit import audit
from leukobench.cohort.audit_page import write_audit
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.synthetic import generate_cohort
from leukobench.cohort.ties import read_ties
from leukobench.core.errors import InputError
from tests.conftest import script_checksum

COPY, TURNED = "UID_2_90_1_all.bmp", "UID_3_91_1_all.bmp"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Six subjects; subject 2 has a copy of a cell of subject 1, and subject 3 the same cell mirrored and rotated."""
    images = tmp_path_factory.mktemp("planted") / "images"
    generate_cohort(images, subjects=6, cells_per_subject=2, seed=5)
    fold = images / "training_data" / "fold_0" / "all"
    original = fold / "UID_1_1_1_all.bmp"
    shutil.copy(original, fold / COPY)
    pixels = cv2.imread(str(original))[:, ::-1]
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 33, 0.9)
    cv2.imwrite(str(fold / TURNED), cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_NEAREST))
    return images, index_folder(images)


@pytest.fixture(scope="module")
def page(planted: tuple[Path, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, manifest = planted
    out = tmp_path_factory.mktemp("audit") / "audit"
    write_audit(audit(manifest, images=images, near=True), out, manifest=manifest, images=images, jobs=2)
    return out


def pictures(html: str) -> list[np.ndarray]:
    encoded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_GRAYSCALE) for one in encoded]
    return [picture.astype(float) for picture in decoded]


def test_only_the_script_of_the_page_itself_may_run(page: Path) -> None:
    html = (page / "audit.html").read_text(encoding="utf-8")
    (script,) = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {script_checksum(script)};" in html
    )


def test_every_tie_is_shown_with_both_cells_in_one_position(page: Path) -> None:
    html = (page / "audit.html").read_text(encoding="utf-8")
    ties = read_ties(page / "ties.csv")
    assert ties["kind"].tolist() == ["identical", "near-duplicate"]
    assert html.count('class="tile"') == len(ties)
    assert "<li>1=2=3</li>" in html
    shown = pictures(html)
    assert [picture.shape for picture in shown] == [(224, 224)] * 4
    for first, second in zip(shown[::2], shown[1::2], strict=True):
        inside = (first > 20) & (second > 20)
        assert inside.sum() > 0.95 * ((first > 20) | (second > 20)).sum()
        assert np.corrcoef(first[inside], second[inside])[0, 1] > 0.95
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)  # it needs no other file


def test_a_name_that_ends_in_json_is_one_file(planted: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    _, manifest = planted
    write_audit(audit(manifest), tmp_path / "audit.json", manifest=manifest)
    assert (tmp_path / "audit.json").is_file()
    with pytest.raises(InputError, match="already exists"):
        write_audit(audit(manifest), tmp_path / "audit.json", manifest=manifest)


def test_without_images_the_pairs_are_listed_without_pictures(tmp_path: Path) -> None:
    manifest = read_manifest()
    write_audit(audit(manifest, ties=read_ties()), tmp_path / "audit", manifest=manifest)
    html = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert html.count('class="tile"') == len(read_ties())
    assert "file not at hand" in html
    assert "8 near-duplicates (similarity 0.957 to 0.991)" in html
    assert read_ties(tmp_path / "audit" / "ties.csv").equals(read_ties())


def test_a_damaged_image_leaves_a_gap_and_the_page_is_written(
    planted: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    images, manifest = planted
    ties = audit(manifest, images=images, near=True).ties
    shutil.copytree(images, tmp_path / "images")
    turned = next((tmp_path / "images").rglob(TURNED))
    turned.write_bytes(turned.read_bytes()[:500])
    found = audit(manifest, ties=ties, images=tmp_path / "images")
    write_audit(found, tmp_path / "audit", manifest=manifest, images=tmp_path / "images")
    html = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert len(pictures(html)) == 2
    assert html.count('class="tile"') == 2


def test_a_rejected_pair_parts_the_group_on_the_page(page: Path, tmp_path: Path, browser: str) -> None:
    """In a browser: reject the near-duplicate, and read the groups and the table that the page would save."""
    html = (page / "audit.html").read_text(encoding="utf-8")
    click = "document.querySelector('input[name=tie1][value=no]').click()"
    html = html.replace("</body>", f"<script>{click}</script></body>")
    html = html.replace("script-src ", f"script-src {script_checksum(click)} ")  # the page allows its own script only
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    shown = subprocess.run(
        [browser, *arguments, (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "<li>1=2</li>" in shown
    assert "1=2=3</li>" not in shown
    assert "1 accepted, 1 rejected" in shown
