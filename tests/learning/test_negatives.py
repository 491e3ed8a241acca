"""Slides of other tissue as negatives."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.phantoms import Phantom
from wsi_pipeline.errors import DatasetError
from wsi_pipeline.learning.data.negatives import PER_SLIDE, read_negatives


def test_patches_of_tissue_are_read_slide_by_slide(
    tmp_path: Path, phantom_factory: Callable[..., Phantom]
) -> None:
    for name in ("one", "two"):
        phantom = phantom_factory(name)
        (tmp_path / f"{name}.tif").write_bytes(phantom.path.read_bytes())
    found = read_negatives(tmp_path, 50, 8.0, seed=0)
    assert set(found.patients) == {"one", "two"}
    assert not found.labels.any()
    assert found.images.shape[1:] == (50, 50, 3)
    assert len(found) <= 2 * PER_SLIDE
    assert (found.images.min((1, 2, 3)) < 220).all()  # none is glass alone
    again = read_negatives(tmp_path, 50, 8.0, seed=0)
    assert (again.images == found.images).all()


def test_a_folder_without_slides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no slide with tissue"):
        read_negatives(tmp_path, 50, 8.0, seed=0)
