import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from wsi_pipeline.cli import train as command
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.learning.training.options import TrainingOptions, as_arguments, read_options

RECIPES = Path(__file__).parents[2] / "configs" / "training"


@pytest.mark.tensorflow
@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_can_be_trained(path: Path) -> None:
    from wsi_pipeline.learning.networks.architectures import architecture_names
    from wsi_pipeline.learning.training.trainer import _check

    options = TrainingOptions(**read_options(path))
    _check(options)
    assert options.architecture in architecture_names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", r"unknown training option learning_rat\. Did you mean learning_rate\?"),
        ("epochs: many", "epochs is 'many'. It is a int"),
        ("jpeg: 1", "jpeg is 1. It is a bool"),
        ("epochs: true", "epochs is True"),
        ("- epochs", "hold list, not keys and values"),
        ("epochs: [", "cannot be read"),
        ("judge_altered: 1", "judge_altered is 1. It is a bool"),
        ("teacher: x", "unknown training option teacher"),
    ],
)
def test_an_unusable_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_options(path)


@pytest.mark.tensorflow
def test_a_card_names_the_command_that_makes_its_options_again() -> None:
    changed = TrainingOptions(
        architecture="baseline-cnn", epochs=3, jpeg=False, stain=False, dihedral=False,
        focus=False, mixup=0.2, weights="/home/someone/w.h5", precision="mixed_bfloat16",
        teacher="t", teacher_weight=0.7, start="/home/someone/model", distill="idc-compact",
        blend="a/model", blend_share=0.3,
        ink=0.1, light=0.25, stain_turn=0.06, color_exchange=0.5, glass=0.1, judge_altered=True,
        negatives_share=0.2, stain_strength=0.5, tint=0.06,
    )  # fmt: skip
    arguments = as_arguments(changed)
    assert as_arguments(TrainingOptions()) == []
    assert not any("someone" in word for word in arguments)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parsed = command.recipe_of(parser.parse_args(["DATASET", "-o", "m", *arguments]))
    assert parsed.training == replace(
        changed, weights="w.h5", start="model", blend="model", teacher=""
    )


def test_whole_numbers_stand_for_fractions_and_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("positive_weight: 3\n")
    assert read_options(path) == {"positive_weight": 3.0}
    path.write_text("")
    assert read_options(path) == {}
    with pytest.raises(ConfigError, match="cannot be read"):
        read_options(tmp_path / "missing.yaml")
