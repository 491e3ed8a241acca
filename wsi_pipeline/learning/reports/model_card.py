"""README.md of a model folder: what the model is, what it was shown and what it must not do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.classifier.familiarity import ShiftCalibration
from wsi_pipeline.files import write_atomic
from wsi_pipeline.learning.reports.baselines import LEAKAGE_WARNING, PUBLISHED
from wsi_pipeline.learning.reports.report_page import SCORE_TITLES

PICTURES: Final = (
    "Pictures of its surest right and wrong calls: `report/index.html` where it was trained, or "
    "`wsi-pipeline evaluate DATASET --model MODEL_DIR -o REPORT` on your copy of the data; none is "
    "kept here, as they are images of patients."
)
ALTERATIONS: Final = (
    "stain_strength",
    "stain_turn",
    "tint",
    "light",
    "ink",
    "glass",
    "color_exchange",
    "scale",
)
NEVER: Final = "Never for screening patients."


def write_model_card(card: ModelCard) -> Path:
    """Write README.md into the model folder and return its path."""
    path = card.folder / "README.md"
    write_atomic(path, model_card_text(card).encode())
    return path


def model_card_text(card: ModelCard) -> str:
    """Return the model card as Markdown, from what stands in model.json."""
    record = card.record
    parts = [
        f"# {card.name}",
        f"**Research use only. Not for diagnosis. {NEVER}**",
        "Gives the probability that a patch of an H&E-stained breast slide holds invasive ductal "
        "carcinoma (IDC).",
        "## Scale",
        f"Patches of {card.patch_size_px} x {card.patch_size_px} px at {card.spacing_um_px:g} "
        f"µm/px ({card.patch_size_px * card.spacing_um_px:g} µm wide), RGB. At any other scale its "
        "figures mean nothing.",
        "## Network and training",
        _network(card),
        "## Data and split",
        _data(record),
        "## Figures",
        _figures(record),
        *_slide_figures(record),
        *_familiarity(card),
        "## Limits",
        _limits(card),
        "## Licence",
        f"{record.get('license', 'not stated')}. Weights: sha256 `{card.sha256}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _parameters(card: ModelCard) -> str:
    """Return how many numbers the network's file holds, trained or counted along the way."""
    n_parameters = card.record.get("parameters")
    return f"{n_parameters:,} parameters in all" if n_parameters else "parameters not counted"


def _network(card: ModelCard) -> str:
    training: Mapping[str, Any] = card.record.get("training") or {}
    history = training.get("history") or []
    seconds = sum(entry.get("seconds", 0) for entry in history)
    lines = [
        f"- {card.architecture or 'architecture not stated'}, "
        f"{_parameters(card)}, {_origin(training)}",
        f"- {len(history)} epochs in {seconds / 60:.0f} minutes ({training.get('machine', '–')})",
        f"- {training.get('with', '–')}, made {training.get('made', '–')}",
    ]
    shown = (
        "optimizer",
        "loss",
        "sampling",
        "learning_rate",
        "batch_size",
        "label_smoothing",
        "jpeg",
        "stain",
        "precision",
        "mixup",
        "cutmix",
        "stain_normalization",
        "positive_weight",
        "seed",
        *((*ALTERATIONS, "teacher_weight") if training.get("start") else ()),
    )
    options = ", ".join(f"{name} {training[name]}" for name in shown if name in training)
    lines += [f"- {options}"] if options else []
    if training.get("command"):
        lines.append(f"- again: `{training['command']}`")
    if training.get("teacher"):
        lines.append(
            f"- taught by out-of-fold logits ({training['teacher']}): weight "
            f"{training['teacher_weight']:g}, temperature {training['teacher_temperature']:g}"
        )
    lines += _made_before("it started from", training.get("started_from") or {})
    share = training.get("blend_share", 0.0)
    lines += _made_before(
        f"whose weights make {share:.0%} of the average", training.get("blended_with") or {}
    )
    lines += _eight_bits(card.record.get("litert") or {})
    return "\n".join(lines)


def _origin(training: Mapping[str, Any]) -> str:
    if training.get("start"):
        return f"trained on from {training['start']}"
    return f"from {training['weights']}" if training.get("weights") else "from scratch"


def _made_before(role: str, before: Mapping[str, Any]) -> list[str]:
    """Return how a model was made that this one may replace."""
    if not before:
        return []
    taught = f", taught by {before['teacher']}" if before.get("teacher") else ""
    return [
        f"- the model {role}: sha256 `{before.get('sha256', '')[:12]}`, made "
        f"{before.get('made', '–')} by `{before.get('command', '–')}`{taught}"
    ]


def _eight_bits(served: Mapping[str, Any]) -> list[str]:
    if served.get("precision") != "int8":
        return []
    return [
        f"- on CPUs in eight-bit integers: validation AUC {served['auc_int8']:.4f}, in float32 "
        f"{served['auc_float32']:.4f}; probabilities differ by {served['mean_difference']:.3f} on "
        f"average, {served['largest_difference']:.2f} at most. GPUs run the float network"
    ]


def _data(record: Mapping[str, Any]) -> str:
    data, split = record.get("training_data") or {}, record.get("split") or {}
    if not isinstance(data, Mapping):
        return str(data)
    lines = [
        f"- Trained on {data.get('patches', 0):,} patches of {data.get('patients', 0)} patients, "
        f"{data.get('prevalence', 0):.1%} IDC",
        f"- Split: {split.get('name', 'not stated')}; "
        f"{len(split.get('validation', ()))} patients for validation, "
        f"{len(split.get('left_out', ()))} left out",
    ]
    other = data.get("other_tissue") or {}
    if other:
        lines.insert(
            1,
            f"- Negatives: {other['patches']:,} patches of {len(other['slides'])} slides without "
            f"IDC ({other.get('source', '')}{', '.join(other['slides'])})",
        )
    lines += [f"- {kind}: {n}" for kind, n in (data.get("problems") or {}).items()]
    return "\n".join(lines)


def _figures(record: Mapping[str, Any]) -> str:
    metrics = record.get("metrics") or {}
    if "auc" not in metrics:
        return "None stated."
    lines = [
        f"On {metrics.get('on', 'validation patients')}: {metrics.get('patches', 0):,} patches of "
        f"{metrics.get('patients', 0)} patients, {metrics.get('prevalence', 0):.1%} IDC.",
        "",
        "| score | value | 95 % interval (patients drawn) |",
        "|---|---|---|",
    ]
    for name, title in SCORE_TITLES.items():
        low, high = metrics.get(f"{name}_ci95", (float("nan"), float("nan")))
        value = metrics.get(name, float("nan"))
        lines.append(f"| {title} | {value:.3f} | {low:.3f} to {high:.3f} |")
    points = record.get("operating_points") or {}
    lines += ["", "Operating points: " + ", ".join(f"{n} {t:.3f}" for n, t in points.items()) + "."]
    lines += ["", "Published on the test cases of the same archive, by patient:", ""]
    lines += [
        f"- {b.work}: balanced accuracy {b.balanced_accuracy:.3f}"
        + (f", F1 {b.f1:.3f}" if b.f1 else "")
        for b in PUBLISHED
    ]
    return "\n".join([*lines, "", LEAKAGE_WARNING, "", PICTURES])


def _slide_figures(record: Mapping[str, Any]) -> list[str]:
    """Return the section on maps refined by neighbors, where the model brings the means."""
    context = record.get("context") or {}
    figures = context.get("metrics") or {}
    if "refined" not in figures:
        return []
    n_other = len(context.get("other_slides", ()))
    lines = [
        f"Each cell's logit refined by those of its neighbors; fitted on "
        f"{len(context.get('slides', ()))} slides"
        f"{f' and {n_other} without IDC' if n_other else ''}. "
        f"On {figures.get('on', 'slides')}:",
        "",
        "| cells of slides | AUC | balanced accuracy | Dice (F1) |",
        "|---|---|---|---|",
    ]
    by_slide = figures.get("mean_over_slides") or {}
    for words, scores in (
        ("pooled, patches alone", figures.get("raw")),
        ("pooled, refined", figures["refined"]),
        ("mean over slides, patches alone", by_slide.get("raw")),
        ("mean over slides, refined", by_slide.get("refined")),
    ):
        if scores:
            values = (scores.get(name, float("nan")) for name in ("auc", "balanced_accuracy", "f1"))
            lines.append(f"| {words} | {' | '.join(f'{value:.3f}' for value in values)} |")
    lines += _cores(figures.get("cores") or {}, context.get("pieces"))
    return ["## Whole slides", "\n".join(lines)]


def _cores(cores: Mapping[str, Any], n_pieces: int | None) -> list[str]:
    if not cores:
        return []
    words = [
        f"{name.split('_')[1]} mm {'of IDC' if name.startswith('idc') else 'without IDC'} "
        f"{found['called']} of {found['cores']}"
        for name, found in cores.items()
    ]
    return [
        "",
        f"How cells without neighbors are judged was fitted on {n_pieces} cores and strips cut "
        f"from training slides. Cores cut off the grid from validation slides, called: "
        f"{'; '.join(words)}.",
    ]


def _familiarity(card: ModelCard) -> list[str]:
    if card.familiarity is None:
        return []
    n = (card.record["familiarity"]).get("slides", "–")
    return [
        "## Familiarity",
        "A second output gives the network's pooled features. A slide is unfamiliar where their "
        f"mean lies farther from the mean of {n} patients of the archive (Mahalanobis) than 19 in "
        "20 of these do, each judged by the others.",
        *_given_back(card.familiarity.calibration),
    ]


def _given_back(known: ShiftCalibration | None) -> list[str]:
    if known is None or not known.other_spread.size:
        return []
    return [
        f"The logits of unfamiliar slides are raised by {known.most:.2f} * sqrt(1 - score), with "
        "which maps of changed copies of the validation slides (re-stained, frozen, out of focus, "
        "sharpened, compressed) have the largest balanced accuracy, unless a "
        "linear discriminant of how their patches spread takes them for other tissue. "
        "`logit_shift` in status.json says how much it was.",
    ]


def _limits(card: ModelCard) -> str:
    return "\n".join(
        [
            f"- {NEVER} It has seen one archive of one disease; it knows no other carcinoma, no "
            "in-situ lesion by name, no other organ and no other stain.",
            "- Labels were drawn as outlines by hand at low magnification: patches at the edge of "
            "a tumor are often labelled wrong.",
            f"- A patch of {card.patch_size_px * card.spacing_um_px:g} µm shows little of a "
            "lesion's architecture; sclerosing adenosis, lymphocytes and crushed tissue can look "
            "like IDC.",
            "- The validation patients chose epoch, calibration and thresholds: expect a little "
            "less on new ones, and calibrate again for another scanner or laboratory.",
        ]
    )
