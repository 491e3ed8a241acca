"""Make `tests/models/darkness`: a model whose answer is known by hand, a few kB.

probability = sigmoid(20 * (0.55 - mean intensity of the patch / 255)): tissue and glass near 0, the
dark box of the phantoms near 1. Run it again only when the folder's format changes:

    python tests/models/make_darkness.py
"""

from pathlib import Path

import keras
import numpy as np

from wsi_pipeline.learning.networks.packaging import write_card, write_networks

inputs = keras.Input((50, 50, 3), name="patch")
mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
dense = keras.layers.Dense(1, activation="sigmoid", name="probability")
network = keras.Model(inputs, dense(mean), name="darkness")
dense.set_weights([np.full((3, 1), -20 / 3, np.float32), np.array([20 * 0.55], np.float32)])
folder = Path(__file__).parent / "darkness"
write_networks(network, folder)
write_card(
    folder,
    {
        "name": "darkness",
        "architecture": "mean intensity",
        "patch_size_px": 50,
        "spacing_um_px": 8.0,
        "class_names": ["IDC"],
        "input_range": [0, 255],
        "stain": "none",
        "threshold": 0.5,
        "license": "Apache-2.0",
    },
)
