"""Lines to type, by command: the first thing that help shows."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final = {
    "run": (
        "run case.svs -o out",
        "run case.tif -o out --mpp 0.25",
        "run slides.csv -o out -c configs/screening.yaml -j 8",
        "run /archive -o out --scheduler tcp://host:8786",
        "run /archive -o out --retry-failed",
    ),
    "scan": ("scan /archive -o slides.csv",),
    "render": ("render out --threshold 0.6", "render out --min-area-mm2 0.5 --colormap magma"),
    "export": ("export out --to ome-tiff", "export out --to geojson-gz --to sheet"),
    "serve": ("serve out --open", "serve out --slides /new/place", "serve out --host 0.0.0.0"),
    "compare": ("compare out drawings/ --class IDC --min-dice 0.8", "compare out other_out"),
    "train": (
        "train DATASET -o model",
        "train DATASET -o model --architecture mobilenet-v2 --weights imagenet",
        "train DATASET --folds 3 -o teachers",
        "train DATASET --teacher teachers -o model",
        "train SLIDES --slides --model model -o model",
    ),
    "evaluate": ("evaluate DATASET --model model -o report",),
    "classify": ("classify patch.png field.tif", "classify folder/"),
    "preview": ("preview case.svs -o page",),
    "drift": ("drift out",),
    "models": ("models", "models idc-compact", "models --new mine.keras"),
    "doctor": ("doctor", "doctor --quick"),
    "completion": ('eval "$(wsi-pipeline completion bash)"',),
}


def description(command: str, summary: str) -> str:
    """Return what help says before the options."""
    lines = [
        f"  {line if line.startswith('eval') else f'wsi-pipeline {line}'}"
        for line in EXAMPLES.get(command, ())
    ]
    examples = "\n".join(["examples:", *lines]) if lines else ""
    return f"{summary[0].upper()}{summary[1:]}.\n\n{examples}".rstrip()
