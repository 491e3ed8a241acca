"""The options of a training, and how others write them: in a YAML file, on a command line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

from wsi_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a model is trained; stored in its card."""

    architecture: str = "compact-residual"
    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    """Peak of the cosine schedule, after a linear warm-up of one epoch."""
    weight_decay: float = 0.02
    label_smoothing: float = 0.02
    positive_weight: float = 1.0
    """Weight of an IDC patch in the loss; 1 leaves the prevalence as it is."""
    jpeg: bool = True
    """Train for compressed slides. Without it 4:2:0 slides lose a tenth of the AUC."""
    stain: bool = True
    """Vary hematoxylin and eosin apart, and the light."""
    stain_strength: float = 0.3
    """The amount of each stain is multiplied by the exponential of up to this, and divided."""
    stain_turn: float = 0.0
    """Standard deviation of what is added to the vectors of the stains: other dyes and cameras."""
    tint: float = 0.05
    """Half-width of the optical density added to each channel: lamp and glass."""
    light: float = 0.0
    """Most of the optical density added to all channels of half of the patches: dark scans."""
    ink: float = 0.0
    """Share of the patches with a drawn pen line; its color says nothing of the tissue."""
    glass: float = 0.0
    """Share of the patches that glass covers in part: edges and pieces of tissue."""
    color_exchange: float = 0.0
    """Share of the patches that take on the stains and the glass of another slide."""
    dihedral: bool = True
    """Flip and turn."""
    focus: bool = True
    """Blur and sharpen."""
    scale: float = 0.0
    """Half-width of the relative change of size; 0 = none."""
    mixup: float = 0.0
    """Alpha of MixUp; 0 = none."""
    cutmix: float = 0.0
    """Alpha of CutMix; 0 = none."""
    stain_normalization: str = "none"
    """Fitted by patient before training; `run` then normalizes each slide likewise."""
    seed: int = 0
    weights: str = ""
    """Start of the base: "" from scratch, "imagenet", or a weights file."""
    start: str = ""
    """Model, by name or folder, whose network trains on; "" = a new one."""
    distill: str = ""
    """Model, by name or folder, whose probabilities on the unchanged patches are learned from, by
    `teacher_weight` and `teacher_temperature`. It may have seen them: for going on from itself."""
    blend: str = ""
    """Model of the same network, by name or folder, whose weights are averaged with the trained
    ones; "" = none. Between a network and what it was trained on to, some of both is kept."""
    blend_share: float = 0.5
    """Part of the average that is the other model's."""
    input_px: int = 0
    """Side that an ImageNet network resizes patches to; 0 = its own choice."""
    optimizer: str = "adamw"
    loss: str = "cross-entropy"
    negatives_share: float = 0.12
    """Part of an epoch that is drawn from the slides of other tissue, where there are such."""
    sampling: str = "natural"
    """Patches of an epoch: "natural" = each once; "balanced" = as many of either class;
    "patients" = of each patient in proportion to the root of its patches."""
    head_epochs: int = 0
    """Epochs that train the last layer of an ImageNet network alone; 0 = all train at once."""
    tuned_share: float = 0.5
    """Part of the base, from the top, that trains after them."""
    tuning_rate: float = 2e-4
    """Peak learning rate after them."""
    judge_altered: bool = False
    """Judge epochs by the validation patches under the augmentation too, not only as they are."""
    patience: int = 0
    """Stop after so many epochs without a better AUC; 0 = never."""
    precision: str = "float32"
    """What the layers compute in, see `PRECISIONS`. The model that is kept is float32 always."""
    teacher: str = ""
    """What out-of-fold logits distillation_targets the labels: name and sha256; "" = none."""
    teacher_weight: float = 0.5
    """Share of the teacher in the target, 1 = the labels count no more."""
    teacher_temperature: float = 1.0
    """Divides the teacher's logits."""


RECORDED: Final = ("teacher",)
"""What a recipe enters by itself."""
KINDS: Final = {
    field.name: type(field.default)
    for field in fields(TrainingOptions)
    if field.name not in RECORDED
}
"""Keys of such a file, and the kind of each value."""


PLACES: Final = ("weights", "start", "distill", "blend")
"""Arguments that may be paths: others need to read their last part alone."""
SWITCHES: Final = {
    "jpeg": "--no-jpeg",
    "stain": "--no-stain-jitter",
    "dihedral": "--no-dihedral",
    "focus": "--no-focus",
    "judge_altered": "--judge-altered",
}
"""Arguments without a value, which turn something over."""


def as_arguments(options: TrainingOptions) -> list[str]:
    """Return the arguments of `wsi-pipeline train` that make these options of the defaults.

    Files and folders are named by their last part, as the card of a model is for others to read.
    """
    arguments: list[str] = []
    for field in fields(TrainingOptions):
        value = getattr(options, field.name)
        if value == field.default or field.name in RECORDED:
            continue
        if field.name in SWITCHES:
            arguments.append(SWITCHES[field.name])
        else:
            shown = Path(value).name if field.name in PLACES else str(value)
            arguments += [f"--{field.name.replace('_', '-')}", shown]
    return arguments


def read_options(path: Path) -> dict[str, Any]:  # of the kinds in `KINDS`
    """Return the options of a file, checked by name and kind.

    Raises
    ------
    ConfigError
        Where the file cannot be read, a key is unknown or a value of the wrong kind.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"training options {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"training options {path} hold {type(values).__name__}, not keys and values",
            "See configs/training/large.yaml",
        )
    return {key: _checked(path, str(key), value) for key, value in values.items()}


def _checked(path: Path, key: str, value: Any) -> Any:
    if key not in KINDS:
        nearest = difflib.get_close_matches(key, KINDS, n=1, cutoff=0.4)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"Known are {', '.join(KINDS)}"
        raise ConfigError(f"{path}: unknown training option {key}", hint)
    kind = KINDS[key]
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{path}: {key} is {value!r}", f"It is a {kind.__name__}")
    return value
