"""The way of one slide from the command to the network: as short as it can be followed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import FrameType

import pytest

from tests.conftest import PhantomFactory
from tests.rule_classifier import RuleClassifier, darkness
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.cli.main import main
from wsi_pipeline.geometry import Box, FloatArray, RgbArray, Size

MODEL = Path(__file__).parents[1] / "models" / "darkness"
MOST_FRAMES = 10


def frames_of_ours() -> list[str]:
    """Return the functions of this package on the stack, the command first."""
    frame: FrameType | None = sys._getframe(1)
    found: list[str] = []
    while frame is not None:
        if frame.f_globals["__name__"].startswith("wsi_pipeline."):
            found.append(f"{frame.f_globals['__name__']}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


def test_ten_calls_lead_from_the_command_to_the_network(
    tmp_path: Path, phantom_factory: PhantomFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = phantom_factory("a.tif", size_l0=Size(2048, 1536), hot_box_l0=Box(400, 400, 400, 400))
    model = shutil.copytree(MODEL, tmp_path / "model")  # of its own: it is loaded once a process
    ways: list[list[str]] = []

    def rule(patches: RgbArray) -> FloatArray:
        ways.append(frames_of_ours())
        return darkness(patches)

    def load(card: ModelCard, **_: object) -> RuleClassifier:
        return RuleClassifier(card, rule)

    monkeypatch.setattr("wsi_pipeline.classifier.request.load_classifier", load)
    status = main(
        ["run", str(slide.path), "-o", str(tmp_path / "out"), "--model", str(model), "-j1"]
    )
    assert (status, bool(ways)) == (0, True)
    # The rule stands in the place of the network: the call to its classifier is one more.
    way = ways[0]
    assert len(way) + 1 <= MOST_FRAMES, "\n".join([*way, "the classifier's predict_features"])
