"""The layers of the augmentation in the order of the world."""

from __future__ import annotations

import keras

from wsi_pipeline.learning.training.augmentation import (
    RandomDihedral,
    RandomFocus,
    RandomJpeg,
    RandomScale,
    RandomStain,
)
from wsi_pipeline.learning.training.augmentation_base import PatchAugmentation
from wsi_pipeline.learning.training.lines import RandomGlass, RandomInk
from wsi_pipeline.learning.training.options import TrainingOptions


def histology_augmentation(options: TrainingOptions) -> keras.Model:
    """Return the layers in the order of the world: tissue, glass, stain, pen, optics, file.

    Parameters
    ----------
    options : TrainingOptions
        Which of the layers there are and how strong they are; the seed.
    """
    seed = options.seed
    chain: list[PatchAugmentation] = []
    if options.dihedral:
        chain.append(RandomDihedral(seed=seed))
    if options.scale:
        chain.append(RandomScale(options.scale, seed=seed + 4))
    if options.glass:
        chain.append(RandomGlass(options.glass, seed=seed + 5))
    if options.stain:
        chain.append(
            RandomStain(
                options.stain_strength,
                options.tint,
                options.stain_turn,
                options.light,
                seed=seed + 1,
            )
        )
    if options.ink:
        chain.append(RandomInk(options.ink, seed=seed + 6))
    if options.focus:
        chain.append(RandomFocus(seed=seed + 2))
    if options.jpeg:
        chain.append(RandomJpeg(seed=seed + 3))
    return keras.Sequential(chain or [keras.layers.Identity()], name="histology_augmentation")
