import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsi_pipeline.classifier import operating_points
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.reports.model_card import model_card_text
from wsi_pipeline.learning.reports.report import Evaluation, _most_extreme, write_report
from wsi_pipeline.learning.reports.scoring import predict_patches, scores_record

MakeDataset = Callable[..., PatchDataset]


@pytest.fixture(scope="module")
def page(
    make_dataset: MakeDataset,
    make_color_classifier: Callable[[], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The page of a report on patches."""
    data, color_classifier = make_dataset("abc", 4), make_color_classifier()
    predictions = predict_patches(data, color_classifier)
    record = {
        **scores_record(predictions, operating_points(color_classifier.card)),
        "tta": False,
        "notes": ["2 of 3 patients & <friends> are in the model's training set."],
        "problems": {"smaller, padded with white": 7},
    }
    title = "Patch evaluation of color-rule"
    evaluation = Evaluation(title, color_classifier.card, record, predictions, data.images)
    return write_report(evaluation, tmp_path_factory.mktemp("report"))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_works_offline_and_every_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text()
    parser = _Links()
    parser.feed(text)
    assert parser.links
    for link in parser.links:
        assert (page.parent / link).is_file(), link
    assert not re.search(r"https?://|<script|@import", text)


def test_the_page_says_what_it_must(page: Path) -> None:
    text = page.read_text()
    assert "Research use only. Not for diagnosis." in text
    assert "2 of 3 patients &amp; &lt;friends&gt; are in" in text
    assert "Cruz-Roa et al. 2014" in text
    assert "0.842" in text
    assert "7 smaller, padded with white" in text


def test_every_picture_of_a_patch_report_is_drawn(page: Path) -> None:
    figures = list((page.parent / "figures").glob("*.png"))
    assert {path.stem for path in figures} == {
        "curves", "confusion", "histograms", "reliability", "patients", "history", "hits",
        "rejections",
    }  # fmt: skip
    for path in figures:
        with Image.open(path) as picture:
            assert min(picture.size) > 200
            assert np.asarray(picture.convert("L")).std() > 5


def test_data_of_one_class_and_one_patient_still_make_a_report(
    make_dataset: MakeDataset, color_classifier: Any, tmp_path: Path
) -> None:
    data = make_dataset("a", 6)
    data = data.subset(data.labels == 0)
    predictions = predict_patches(data, color_classifier)
    record = {**scores_record(predictions, operating_points(color_classifier.card)), "notes": []}
    page = write_report(Evaluation("t", color_classifier.card, record, predictions), tmp_path)
    assert ">nan<" not in page.read_text()
    assert not (tmp_path / "figures" / "curves.png").exists()


def test_at_most_two_patches_of_one_patient_are_shown() -> None:
    patients = np.array(["a"] * 5 + ["b"] * 3)
    rank = np.arange(8, dtype=np.float32)
    chosen = _most_extreme(np.ones(8, bool), rank, patients)
    assert chosen.tolist() == [0, 1, 5, 6]


def test_the_model_card_names_scale_split_limits_and_whom_it_is_not_for(
    color_classifier: Any,
) -> None:
    text = model_card_text(color_classifier.card)
    assert "parameters not counted" in text
    assert "Never for screening patients." in text
    assert "32 x 32 px at 8 µm/px" in text
    assert "by hand" in text
    assert "## Limits" in text
    assert "0" * 64 in text
