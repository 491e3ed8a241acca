"""Which device there is. The only file that speaks to a backend of Keras by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


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


def compiled(model: Any, *, with_xla: bool) -> Callable[[Any], list[Any]]:
    """Return what calls a Keras model on a batch of one shape, and does not wait for the result.

    Parameters
    ----------
    model : keras.Model
    with_xla : bool
        Compile by XLA, see `is_worth_compiling`; JAX always does.

    Returns
    -------
    callable
        From an array to the outputs on the device, each to be given to `keras.ops.convert_to_numpy`
        when it is wanted: JAX, and TensorFlow on a GPU, hand out arrays that are still being
        computed, so that the next batch can be sent meanwhile.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        weights = [[v.value for v in part] for part in _variables(model)]
        call = jax.jit(lambda held, batch: model.stateless_call(*held, batch, training=False)[0])
        return lambda batch: _listed(call(weights, batch))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(lambda batch: model(batch, training=False), jit_compile=with_xla)
        return lambda batch: _listed(function(tf.convert_to_tensor(batch)))
    return lambda batch: _listed(model(batch, training=False))


def _variables(model: Any) -> tuple[Any, Any]:
    return model.trainable_variables, model.non_trainable_variables


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def keep_compiled_code(folder: Path) -> None:
    """Let XLA keep what it compiles for a GPU, so that the next process need not do it again.

    To be called before the backend's first use of a device.
    """
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    elif keras.backend.backend() == "tensorflow":
        flags = os.environ.get("TF_XLA_FLAGS", "")
        if "persistent_cache" not in flags:
            ours = f"--tf_xla_persistent_cache_directory={folder}"
            os.environ["TF_XLA_FLAGS"] = f"{flags} {ours}".strip()


def cache_folder() -> Path:
    """Return where compiled code is kept: XDG's place for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wsi_pipeline/xla"


def gpu_name() -> str | None:
    """Return the name of the GPU that the Keras backend sees, None where it sees none.

    The GPU's memory is left to grow, as other programs, and other processes of a run, may share
    the card: JAX would else take three quarters of it for each process.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # read when JAX first starts
    import keras

    if keras.backend.backend() == "jax":
        import jax

        keep_compiled_code(cache_folder())
        gpus = [d for d in jax.devices() if d.platform in ("gpu", "cuda")]
        return str(gpus[0].device_kind) if gpus else None
    keep_compiled_code(cache_folder())
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    return str(details.get("device_name", gpus[0].name))
