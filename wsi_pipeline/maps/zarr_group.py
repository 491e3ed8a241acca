"""What lies in a `probability.zarr`, as plain arrays and attributes: checked, then read whole."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Literal

from numpy.typing import NDArray

from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps.store_files import UnexpectedStoreError, read_store

ATTRIBUTES_KEY: Final = "wsi_pipeline"
"""Name of our group attributes."""
RERUN_ADVICE: Final = "Run the slide again with --overwrite"


def read_group(
    path: Path, names: Collection[str], root: Path | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a group of either NGFF version.

    Parameters
    ----------
    path : Path
        The `probability.zarr` folder.
    names : collection of str
        The arrays to read, where they are there.
    root : Path, optional
        A folder above it that others may write to: nothing between may be a link.

    Returns
    -------
    attributes : dict
        Ours; what JSON holds.
    arrays : dict of str to ndarray

    Raises
    ------
    StorageError
        Where there is none, it is damaged, or it holds anything that `write_map` does not write.
    """
    group = _open_group(path, checked_files(path, root))
    attributes = group.attrs.asdict().get(ATTRIBUTES_KEY)
    if not isinstance(attributes, dict):
        raise StorageError(
            f"{path}: a Zarr store, but not a probability map of this program",
            "Give the probability.zarr of an output folder",
        )
    try:
        return attributes, {name: group[name][...] for name in names if name in group}
    except (KeyError, ValueError, TypeError, RuntimeError, OSError) as exc:
        raise damaged(path, exc) from exc


def damaged(path: Path, error: Exception) -> StorageError:
    """Return the error of a map whose arrays or attributes cannot be used."""
    return StorageError(f"{path}: the map is damaged ({error})", RERUN_ADVICE)


def checked_files(path: Path, root: Path | None = None) -> dict[str, bytes]:
    """Return the files of a store that holds nothing but what this program writes.

    Raises
    ------
    StorageError
        Where there is none, or it holds anything else.
    """
    if not path.is_dir():
        raise StorageError(
            f"{path}: no probability map here",
            "Run the slide first, or give the folder that a run wrote",
        )
    try:
        return read_store(path, root)
    except UnexpectedStoreError as exc:
        raise StorageError(f"{path}: no map that this program wrote ({exc})", RERUN_ADVICE) from exc
    except (ValueError, OSError) as exc:
        raise StorageError(f"{path}: the store is damaged ({exc})", RERUN_ADVICE) from exc


def _open_group(path: Path, files: dict[str, bytes]) -> Any:
    """Open the store in memory: nothing of it can change after it was looked at."""
    # zarr takes most of a second to import: only those who read or write a map pay for it.
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.errors import GroupNotFoundError
    from zarr.storage import MemoryStore

    as_buffer = default_buffer_prototype().buffer.from_bytes
    store = MemoryStore({place: as_buffer(data) for place, data in files.items()}, read_only=True)
    zarr_format: Literal[2, 3] = 3 if "zarr.json" in files else 2
    try:
        return zarr.open_group(store, mode="r", zarr_format=zarr_format, use_consolidated=False)
    except GroupNotFoundError as exc:
        raise StorageError(f"{path}: not a Zarr group", "Give a probability.zarr folder") from exc
    except (ValueError, KeyError, TypeError, OSError) as exc:
        raise StorageError(f"{path}: the store is damaged ({exc})", RERUN_ADVICE) from exc
