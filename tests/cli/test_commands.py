"""The small commands, and how every command ends."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import wsi_pipeline
from tests.phantoms import Phantom
from wsi_pipeline.classifier import DEFAULT_MODEL
from wsi_pipeline.cli import run
from wsi_pipeline.cli.examples import EXAMPLES
from wsi_pipeline.cli.main import COMMANDS, EXIT_DONE, EXIT_SOME_FAILED, EXIT_USAGE, main

MODEL = Path(__file__).parents[1] / "models" / "darkness"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "usage: wsi-pipeline" in said
    assert ">>>" not in said


def test_run_takes_the_options_of_the_interface() -> None:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    words = "--stride 25 --stain macenko --threshold 0.5 --tta --no-context --outputs map --mpp 1"
    words += " --mask m --workers 3 --scheduler tcp://h:1 --device cpu --overwrite --dry-run"
    options = parser.parse_args(["a.svs", "-o", "out", *words.split()])
    config = run.config_of(options)
    assert config.inference.device == "cpu"
    assert (config.inference.tta, config.inference.context) == (True, False)
    assert (config.tiling.stride_px, config.slide.mpp, config.outputs) == (25, 1.0, "map")
    assert (config.stain.method, config.regions.threshold) == ("macenko", 0.5)
    assert (config.execution.workers, config.execution.scheduler) == (3, "tcp://h:1")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_first_and_their_options_exist(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    shown, options = said.split("options:", 1)
    for line in EXAMPLES[command]:
        assert line in shown
        for option in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", line):
            assert re.search(rf"(?<!\w){option}\b", options), f"{command} has no {option}"


def test_help_of_all_shows_examples_before_the_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == EXIT_USAGE
    said = capsys.readouterr().out
    assert said.index("wsi-pipeline run case.svs -o out") < said.index("options:")
    assert ">>>" not in said


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == wsi_pipeline.__version__


def test_no_command_is_wrong_usage() -> None:
    assert main([]) == EXIT_USAGE


def test_models_lists_the_bundled_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == EXIT_DONE
    out = capsys.readouterr().out
    assert f"{DEFAULT_MODEL} (default)" in out
    assert "50 px at 8 µm/px" in out


def test_models_describes_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", str(MODEL)]) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["name"] == "darkness"


def test_an_unknown_model_is_wrong_usage_and_names_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "nosuch"]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert "no model 'nosuch'" in err
    assert DEFAULT_MODEL in err


def test_a_model_folder_without_weights_is_wrong_usage(
    tmp_path: Path, phantom_factory: Callable[..., Phantom], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(MODEL, tmp_path / "model")
    (tmp_path / "model" / "model.keras").unlink()
    slide = phantom_factory().path
    words = ["run", str(slide), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "model")]
    assert main(words) == EXIT_USAGE
    assert "has no model.keras" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_altered_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(MODEL, tmp_path / "model")
    with (tmp_path / "model" / "model.keras").open("ab") as file:
        file.write(b"x")
    assert main(["models", str(tmp_path / "model")]) == EXIT_USAGE
    assert "is not the file its card names" in capsys.readouterr().err


def test_doctor_finds_this_machine_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--quick"]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "OpenSlide 4" in out
    assert "all well" in out


def test_render_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(tmp_path)]) == EXIT_SOME_FAILED
    assert "holds no slides/" in capsys.readouterr().err


def test_render_draws_again(
    tmp_path: Path, phantom_factory: Callable[..., Phantom], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(phantom_factory().path), "-o", str(out), "--model", str(MODEL)]) == 0
    overlay = out / "slides/phantom/overlay.png"
    overlay.unlink()
    assert main(["render", str(out), "--min-area-mm2", "5"]) == EXIT_DONE
    assert overlay.exists()
    assert "IDC 0.00 mm² in 0 regions" in capsys.readouterr().out
