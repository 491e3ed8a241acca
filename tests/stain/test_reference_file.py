"""A reference of one's own, through `run`: from a slide, a picture or a saved file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stain.mixtures import H_AND_E, mix
from tests.stain.test_outcomes import GLASS, MODEL, on_glass, stained
from wsi_pipeline.cli.main import main
from wsi_pipeline.config import load_config
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.pipeline.run import run_slide
from wsi_pipeline.results.status import Done

OTHER_LAB = ((0.60, 0.70, 0.39), (0.18, 0.82, 0.54))


def save(picture: RgbArray, path: Path) -> Path:
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return save(stained(H_AND_E), tmp_path / "slide.png")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return save(stained(OTHER_LAB, (2.0, 1.5)), tmp_path / "other.png")


def run(slide: Path, out: Path, *words: object) -> int:
    options = ["--model", MODEL, "--outputs", "map", "--mpp", 8, "-j", 1, *words]
    return main(["run", str(slide), "-o", str(out), *map(str, options)])


def status_of(out: Path) -> dict[str, dict[str, object]]:
    status: dict[str, dict[str, object]] = json.loads(
        (out / "slides" / "slide" / "status.json").read_text()
    )
    return status


def test_a_slide_is_fitted_saved_and_recorded(slide: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(slide, out, "--stain", "macenko", "--stain-reference", other) == 0
    saved = out / "stain_reference.json"
    found = np.array(json.loads(saved.read_text())["macenko"]["stain_matrix"])
    assert found @ np.array(OTHER_LAB).T == pytest.approx(
        np.array(OTHER_LAB) @ np.array(OTHER_LAB).T, abs=0.03
    )
    record = status_of(out)["stain"]
    assert record["used"] == "macenko"
    assert record["reference"] == {"source": "other.png", "file": str(saved)}


def test_the_saved_file_gives_the_same_map_and_a_finished_slide_is_skipped(
    slide: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(slide, first, "--stain", "histogram", "--stain-reference", other)
    given = ("--stain", "histogram", "--stain-reference", first / "stain_reference.json")
    run(slide, second, *given)
    assert status_of(first)["map_sha256"] == status_of(second)["map_sha256"]
    capsys.readouterr()
    run(slide, first, *given)
    assert "1 of them before this run" in capsys.readouterr().out
    run(slide, first, *given, "--dry-run")
    assert "would be skipped" in capsys.readouterr().out


def test_another_reference_makes_another_map(slide: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(slide, out, "--stain", "macenko", "--stain-reference", other)
    before = status_of(out)["map_sha256"]
    run(slide, out, "--stain", "macenko", "--stain-reference", slide)
    assert status_of(out)["map_sha256"] != before


def test_a_dry_run_keeps_no_reference(slide: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(slide, out, "--stain", "macenko", "--stain-reference", other, "--dry-run") == 0
    assert not out.exists()


def test_the_configuration_takes_a_picture_smaller_than_a_patch_without_a_scale(
    slide: Path, tmp_path: Path
) -> None:
    patch = save(mix(OTHER_LAB, n=1600).reshape(40, 40, 3), tmp_path / "patch.png")
    config = load_config(
        None,
        {
            "model": str(MODEL),
            "outputs": "map",
            "slide": {"mpp": 8.0},
            "stain": {"method": "reinhard", "reference": str(patch)},
            "execution": {"workers": 1},
        },
    )
    result = run_slide(slide, tmp_path / "out", config)
    assert isinstance(result.status, Done)
    assert result.status.stain is not None
    assert result.status.stain.to_dict()["reference"]["source"] == "patch.png"


def bad_references(folder: Path) -> dict[str, tuple[Path, str]]:
    broken, listed, old = (folder / f"{name}.json" for name in ("broken", "listed", "old"))
    broken.write_text("{")
    listed.write_text("[1, 2]")
    old.write_text('{"format": 0}')
    letter = folder / "letter.txt"
    letter.write_text("Dear colleague")
    glass = np.full((300, 300, 3), GLASS, np.uint8)
    pink = on_glass(np.full((200, 200, 3), (200, 120, 170), np.uint8))
    return {
        "no such file": (folder / "none.png", "none.png"),
        "no such saved file": (folder / "none.json", "none.json cannot be read"),
        "broken": (broken, "broken.json cannot be read"),
        "not a reference": (listed, "has format None"),
        "another version": (old, "has format 0"),
        "not a picture": (letter, "letter.txt"),
        "blank": (save(glass, folder / "glass.png"), "glass.png cannot be a stain reference"),
        "one color": (save(pink, folder / "pink.png"), "pink.png cannot be a stain reference"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "no such file",
        "no such saved file",
        "broken",
        "not a reference",
        "another version",
        "not a picture",
        "blank",
        "one color",
    ],
)
def test_what_cannot_be_a_reference_is_refused_before_anything_is_written(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path, message = bad_references(tmp_path)[name]
    assert run(slide, tmp_path / "out", "--stain", "macenko", "--stain-reference", path) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_reference_that_no_method_would_use_is_refused(slide: Path, other: Path) -> None:
    config = load_config(
        None, {"model": str(MODEL), "slide": {"mpp": 8.0}, "stain": {"reference": str(other)}}
    )
    with pytest.raises(ConfigError, match="stains are not normalized"):
        run_slide(slide, slide.parent / "out", config)
