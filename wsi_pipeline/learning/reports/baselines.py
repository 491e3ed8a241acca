"""What others published on the IDC archive, split by patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Baseline:
    """Figures of one work; None where it gives none."""

    work: str
    balanced_accuracy: float | None = None
    f1: float | None = None


PUBLISHED: Final = (
    Baseline("Cruz-Roa et al. 2014, Proc. SPIE 9041", balanced_accuracy=0.842, f1=0.718),
    Baseline(
        "Janowczyk & Madabhushi 2016, J Pathol Inform 7:29", balanced_accuracy=0.847, f1=0.765
    ),
    Baseline("Perdigón Romero et al. 2019, arXiv:1901.03684", balanced_accuracy=0.89),
)
PUBLISHED_SLIDES: Final = (
    ("Cruz-Roa et al. 2017, whole slides", 0.76),
    ("HASHI, Cruz-Roa et al. 2018, whole slides", 0.76),
)
"""Work and Dice; other slides than the public archive's."""
LEAKAGE_WARNING: Final = (
    "An accuracy of 0.93 or more under a random split of patches is leakage: neighbors in one "
    "lesion are near-copies (Bussola et al., arXiv:1909.06539)."
)
