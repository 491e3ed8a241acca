"""The patch classifier: model folders, engines and devices."""

from wsi_pipeline.classifier.card import (
    DEFAULT_MODEL,
    ModelCard,
    bundled_folders,
    find_model,
    operating_points,
    read_card,
    sha256_of,
)
from wsi_pipeline.classifier.classifier import PatchClassifier, predict_views
from wsi_pipeline.classifier.context import ContextRefinement
from wsi_pipeline.classifier.loading import available_cores, load_classifier
from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.classifier.request import ModelRequest

__all__ = [
    "DEFAULT_MODEL",
    "ContextRefinement",
    "ModelCard",
    "ModelRequest",
    "PatchClassifier",
    "available_cores",
    "bundled_folders",
    "find_model",
    "load_classifier",
    "logit",
    "operating_points",
    "predict_views",
    "read_card",
    "sha256_of",
    "sigmoid",
]
