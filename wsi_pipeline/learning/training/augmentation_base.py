"""What the layers of the augmentation share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("wsi_pipeline")
class PatchAugmentation(keras.layers.Layer):
    """Takes and returns float32 images (N, H, W, 3) from 0 to 255.

    Draws its own parameters for each image of the batch, from one seed generator, and does nothing
    outside training.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Return the images changed in training, as they are otherwise."""
        return self.augment(images) if training else images

    def augment(self, images: Any) -> Any:
        """Return the images changed."""
        raise NotImplementedError

    def get_config(self) -> Mapping[str, Any]:
        """Return what rebuilds the layer."""
        return {**super().get_config(), "seed": self.seed}

    def uniform(self, images: Any, low: float, high: float, tail: tuple[int, ...]) -> Any:
        """Draw one set of numbers an image, shape (N, *tail)."""
        shape = (ops.shape(images)[0], *tail)
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed_generator)

    def chosen(self, images: Any, share: float) -> Any:
        """Draw which images to change, bool (N, 1, 1, 1)."""
        return self.uniform(images, 0.0, 1.0, (1, 1, 1)) < share
