"""Real H&E from other laboratories, where the files are at hand."""

from pathlib import Path

import pytest

from wsi_pipeline.classifier import find_model
from wsi_pipeline.config import load_config
from wsi_pipeline.pipeline.plan import plan_slide
from wsi_pipeline.pipeline.stain import fit_stain, stain_reference
from wsi_pipeline.slides import SlideSource

OUTSIDE = Path(__file__).parents[2].parent / "shared" / "data" / "outside"
SLIDES = {
    "much hematoxylin": ("other_tissue/BS9-HE2.tif", None),
    "bluish": ("other_tissue/lung-SCC-2.tif", None),
    "frozen, white glass": ("frozen/C2.jpg", 2.0647),
    "frozen, violet glass": ("frozen/C4.jpg", 2.0647),
}


@pytest.mark.parametrize(("name", "mpp"), SLIDES.values(), ids=SLIDES.keys())
def test_h_and_e_of_another_laboratory_is_normalized(name: str, mpp: float | None) -> None:
    if not (OUTSIDE / name).exists():
        pytest.skip("the slides of ../shared/data/outside are not here")
    card = find_model("idc-compact")
    plan = plan_slide(SlideSource(OUTSIDE / name, mpp), load_config(), card)
    assert plan.tissue_mask.tissue_share < 0.5
    normalizer, health = fit_stain(plan, "macenko", stain_reference(card))
    assert health.is_he is True
    assert normalizer.method == "macenko"
