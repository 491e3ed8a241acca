"""One contract, every engine: the rule of tests, LiteRT, Keras, and the model of another worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.patch_classifier import PatchClassifierContract
from tests.rule_classifier import RuleClassifier, darkness
from wsi_pipeline.classifier import ModelCard, PatchClassifier, read_card
from wsi_pipeline.classifier.engines.litert import LiteRTClassifier
from wsi_pipeline.classifier.engines.remote import RemoteClassifier
from wsi_pipeline.classifier.request import ModelRequest
from wsi_pipeline.config import Config

MODEL = Path(__file__).parents[2] / "models" / "darkness"


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return read_card(MODEL)


class TestRule(PatchClassifierContract):
    @pytest.fixture
    def classifier(self, card: ModelCard) -> PatchClassifier:
        return RuleClassifier(card, darkness)


class TestLiteRT(PatchClassifierContract):
    @pytest.fixture(scope="class", params=[1, 2])
    @classmethod
    def classifier(cls, card: ModelCard, request: pytest.FixtureRequest) -> PatchClassifier:
        return LiteRTClassifier(card, request.param)


@pytest.mark.tensorflow
class TestKeras(PatchClassifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def classifier(cls, card: ModelCard) -> PatchClassifier:
        from wsi_pipeline.classifier.engines.keras import KerasClassifier

        return KerasClassifier(card, batch_size=16, device="CPU")


class TestRemote(PatchClassifierContract):
    """By a client that is its own worker; tests/archive/test_cluster.py has a real one."""

    @pytest.fixture(scope="class")
    @classmethod
    def classifier(cls, card: ModelCard) -> PatchClassifier:
        return RemoteClassifier(OwnWorker(), ModelRequest.of(card, Config()))


@dataclass(frozen=True)
class Result:
    value: Any

    def result(self) -> Any:
        return self.value


class OwnWorker:
    """The part of a Dask client that is used, doing each task at once."""

    def scatter(self, data: Any, **_: Any) -> Any:
        return data

    def submit(self, function: Callable[..., Any], *arguments: Any, **_: Any) -> Result:
        return Result(function(*arguments))
