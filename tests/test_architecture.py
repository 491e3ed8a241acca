import subprocess
import sys

import pytest

import wsi_pipeline

HEAVY = ("tensorflow", "keras", "dask", "matplotlib", "openslide", "zarr", "ai_edge_litert")
DRAWING = ("tensorflow", "keras", "matplotlib", "zarr")


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import wsi_pipeline", HEAVY),
        ("import wsi_pipeline.cli.main", HEAVY),
        ("import wsi_pipeline.config", HEAVY),
        # what a run needs before there is something to draw and to store
        ("import wsi_pipeline.archive, wsi_pipeline.inputs.search", DRAWING),
    ],
)
def test_imports_stay_light(statement: str, heavy: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {heavy!r} if m in sys.modules])"
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
