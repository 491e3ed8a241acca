"""What is measured on a finished model, written into its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsi_pipeline.classifier import ModelCard, read_card
from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.learning.reports.model_card import write_model_card


def extend_model(card: ModelCard, parts: Mapping[str, Any], out: Path) -> ModelCard:
    """Write a model with new parts of its card to a folder, its own or another.

    The card comes last: a folder with a card is whole.

    Parameters
    ----------
    card : ModelCard
    parts : mapping
        Entries of the card, in place of those of these names.
    out : Path
        Made where missing.
    """
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        if out.resolve() != card.folder.resolve():
            (out / "model.json").unlink(missing_ok=True)
            for path in (card.weights_path, card.litert_path, card.stain_reference_path):
                if path is not None:
                    shutil.copyfile(path, out / path.name)
    write_atomic(out / "model.json", json.dumps({**card.record, **parts}, indent=2).encode())
    extended = read_card(out)
    write_model_card(extended)
    return extended
