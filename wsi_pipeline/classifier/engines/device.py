"""Which device there is. The only file that speaks to a backend of Keras by name."""

from __future__ import annotations

import os
from pathlib import Path


def has_nvidia_device() -> bool:
    """Return whether the operating system shows an NVIDIA GPU; costs no import of a framework."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Path("/dev/nvidia0").exists() and visible not in ("", "-1")


def is_worth_compiling(*, on_gpu: bool) -> bool:
    """Return whether a network is to be compiled by XLA before it predicts.

    JAX does every operation by itself where it is not: 5,400 patches/s instead of 40,000 were
    measured on an H200. TensorFlow on a CPU compiles for seconds and gains nothing on networks of
    this size.
    """
    import keras

    return on_gpu or keras.backend.backend() == "jax"


def gpu_name() -> str | None:
    """Return the name of the GPU that the Keras backend sees, None where it sees none.

    The GPU's memory is left to grow, as other programs, and other processes of a run, may share
    the card: JAX would else take three quarters of it for each process.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # read when JAX first starts
    import keras

    if keras.backend.backend() == "jax":
        import jax

        gpus = [d for d in jax.devices() if d.platform in ("gpu", "cuda")]
        return str(gpus[0].device_kind) if gpus else None
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", gpus[0].name))
