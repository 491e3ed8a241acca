"""What a run has classified so far, block by block, safe to kill at any moment.

One file a block, holding all its layers, written beside and renamed: a block is there as a whole
or not at all. Plain `.npz` files rather than Zarr chunks, because several layers of one block must
appear in one step. The finished map is Zarr (`wsi_pipeline.maps.store`).
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.files import storing, write_atomic
from wsi_pipeline.maps.grid import Block

PLAN_NAME: Final = "plan.json"
_QUALITY: Final = "quality"


@dataclass(frozen=True, slots=True)
class BlockStore:
    """Layers over the patch positions of one slide. Holds paths only, so that workers can write.

    One writer a block; writing a block again replaces it.
    """

    path: Path
    shape: tuple[int, int]
    """Patch positions: (rows, columns)."""
    layers: tuple[str, ...]
    """Names; "quality", which is always there, is uint8 (0 = none), every other float32 (NaN =
    none)."""

    @classmethod
    def create_or_resume(
        cls,
        path: Path,
        shape: tuple[int, int],
        block_side: int,
        plan_key: str,
        layers: tuple[str, ...],
    ) -> Self:
        """Open the store, keeping finished blocks if they belong to the same plan.

        Parameters
        ----------
        path : Path
            Folder of the store, made where missing.
        shape : tuple of int
            Patch positions (rows, columns).
        block_side : int
            Patches along one side of a block.
        plan_key : str
            Whatever the values depend on (slide, model, configuration), as one string. Blocks of
            another plan are discarded.
        layers : tuple of str
            Layers that each block has.

        Raises
        ------
        StorageError
            Where the folder cannot be written.
        """
        plan = {"plan_key": plan_key, "shape": shape, "block_side": block_side, "layers": layers}
        text = json.dumps(plan, indent=1)
        plan_path = path / PLAN_NAME
        with storing(path):
            path.mkdir(parents=True, exist_ok=True)
            if not plan_path.is_file() or plan_path.read_text(encoding="utf-8") != text:
                # Blocks first, the plan last: a kill in between leaves a mismatch, never a mixture.
                for file in path.glob("block_*"):
                    file.unlink()
                write_atomic(plan_path, text.encode(), flush=False)
        return cls(path, shape, layers)

    @property
    def _measures(self) -> list[str]:
        return [name for name in self.layers if name != _QUALITY]

    def is_complete(self, block: Block) -> bool:
        """Return True where all layers of the block are on the disk and whole."""
        return self._read(block) is not None

    def write_block(self, block: Block, layers: Mapping[str, NDArray[Any]]) -> None:
        """Write all layers of a block in one step.

        Parameters
        ----------
        block : Block
        layers : mapping of str to ndarray, shape (block.n_rows, block.n_cols)
            One array for each of the store's layers.

        Raises
        ------
        ValueError
            Where a layer is missing, unknown or of another shape.
        StorageError
            Where the folder cannot be written.
        """
        if set(layers) != set(self.layers):
            raise ValueError(f"expected the layers {self.layers}, received {tuple(layers)}")
        for name, values in layers.items():
            if values.shape != (block.n_rows, block.n_cols):
                raise ValueError(f"layer {name} has shape {values.shape}, the block is {block}")
        # Stacked: a file's part for each of a model's dozens of features costs more than the rest.
        measures = np.stack([np.asarray(layers[n], np.float32) for n in self._measures])
        quality = np.asarray(layers[_QUALITY], np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, measures=measures, quality=quality)
        # Not flushed: a power cut costs blocks that are done again; sums tell a torn one.
        write_atomic(self._file(block), buffer.getvalue(), flush=False)

    def read_all(self) -> dict[str, NDArray[Any]]:
        """Return every layer, shape (rows, columns); "none" where no block was written.

        Returns
        -------
        dict of str to ndarray
            float32 with NaN for none; "quality" uint8 with 0 for none.
        """
        whole: dict[str, NDArray[Any]] = {
            n: np.full(self.shape, np.nan, np.float32) for n in self._measures
        }
        whole[_QUALITY] = np.zeros(self.shape, np.uint8)
        for file in sorted(self.path.glob("block_*.npz")):
            row, col = (int(part) for part in file.stem.split("_")[1:])
            arrays = self._load(file) or {}
            for name, values in arrays.items():
                n_rows, n_cols = values.shape
                whole[name][row : row + n_rows, col : col + n_cols] = values
        return whole

    def discard(self) -> None:
        """Delete the store, once its content has found its place in the map."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, block: Block) -> dict[str, NDArray[Any]] | None:
        arrays = self._load(self._file(block))
        if arrays is None or any(a.shape != (block.n_rows, block.n_cols) for a in arrays.values()):
            return None
        return arrays

    def _load(self, file: Path) -> dict[str, NDArray[Any]] | None:
        """Read a block's file, None where it is missing or torn (a disk may lie about a flush)."""
        try:
            # Read by ourselves: np.load leaves the file open where the archive is torn.
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
                measures = dict(zip(self._measures, archive["measures"], strict=True))
                return {**measures, _QUALITY: archive["quality"]}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def _file(self, block: Block) -> Path:
        return self.path / f"block_{block.row:06d}_{block.col:06d}.npz"
