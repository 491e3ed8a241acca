from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_pipeline.errors import ConfigError, StainError
from wsi_pipeline.learning.data.datasets import PatchDataset
from wsi_pipeline.learning.data.normalization import normalize_patches, stain_reference_of

HE_OD = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])


def _tissue(hematoxylin: float, eosin: float, seed: int) -> NDArray[np.uint8]:
    """Return ten patches of nuclei and stroma, stained more or less."""
    rng = np.random.default_rng(seed)
    nuclei = rng.random((10, 32, 32)) < 0.35
    amounts = np.stack([np.where(nuclei, 0.9, 0.08), np.where(nuclei, 0.15, 0.45)], -1)
    amounts *= rng.uniform(0.7, 1.3, amounts.shape) * [hematoxylin, eosin]
    return np.clip(np.round(255 * np.exp(-amounts @ HE_OD)), 0, 255).astype(np.uint8)


@pytest.fixture
def data() -> PatchDataset:
    """A patient stained strongly and one stained faintly."""
    images = np.concatenate([_tissue(1.3, 1.2, 0), _tissue(0.7, 0.6, 1)])
    n = len(images)
    return PatchDataset(
        images,
        np.tile([0, 1], n // 2).astype(np.int8),
        np.repeat(["strong", "faint"], n // 2),
        tuple(f"{i}.png" for i in range(n)),
        np.full((n, 2), -1, np.int32),
    )


def _gap(data: PatchDataset) -> float:
    strong = data.images[data.patients == "strong"].mean((0, 1, 2))
    return float(np.abs(strong - data.images[data.patients == "faint"].mean((0, 1, 2))).max())


@pytest.mark.parametrize(("method", "share"), [("macenko", 0.35), ("reinhard", 0.65)])
def test_patients_look_alike_afterwards(method: str, share: float, data: PatchDataset) -> None:
    after = normalize_patches(data, method, stain_reference_of(data))
    assert _gap(data) > 30
    assert _gap(after) < share * _gap(data)
    assert after.images.dtype == np.uint8
    assert after.files == data.files


def test_without_a_method_nothing_is_touched(data: PatchDataset) -> None:
    assert normalize_patches(data, "none", None) is data


def test_without_two_stains_normalization_is_refused(data: PatchDataset) -> None:
    white = replace(data, images=np.full_like(data.images, 250))
    reference = stain_reference_of(white)
    assert reference is None
    with pytest.raises(StainError, match="no two stains to normalize to by macenko"):
        normalize_patches(white, "macenko", reference)


def test_an_unknown_method_is_refused(data: PatchDataset) -> None:
    with pytest.raises(ConfigError, match="no stain normalization 'magenta'"):
        normalize_patches(data, "magenta", stain_reference_of(data))
