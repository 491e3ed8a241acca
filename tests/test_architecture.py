import subprocess
import sys

import pytest

import wsi_pipeline

HEAVY = ("tensorflow", "keras", "dask", "matplotlib", "openslide", "zarr", "ai_edge_litert")


@pytest.mark.parametrize(
    "statement",
    ["import wsi_pipeline", "import wsi_pipeline.cli.main", "import wsi_pipeline.config"],
)
def test_imports_stay_light(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these() -> None:
    assert sorted(wsi_pipeline.__all__) == [
        "ProbabilityMap",
        "WsiPipelineError",
        "make_demo_slide",
        "open_slide",
        "run_slide",
    ]
    for name in wsi_pipeline.__all__:
        assert getattr(wsi_pipeline, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = wsi_pipeline.nothing
