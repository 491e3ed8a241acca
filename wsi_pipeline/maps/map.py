"""The probability map of one slide, in memory; read from its store, which knows no maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import BoolMask, FloatArray, Mpp
from wsi_pipeline.maps.store_files import MASK, OPTIONAL_LAYERS
from wsi_pipeline.maps.zarr_group import damaged, read_group

UNFAMILIAR: Final = "unfamiliar to the model: do not trust it"


@dataclass(frozen=True, slots=True, eq=False)
class TissueRaster:
    """Where the tissue is, at the resolution of its mask: finer than the cells."""

    inside: BoolMask
    """bool, shape (H, W), True = tissue."""
    origin_l0: tuple[float, float]
    """x, y of the upper left corner, level-0 px."""
    step_l0: tuple[float, float]
    """Side of a raster px along x and y, level-0 px."""

    def __post_init__(self) -> None:
        if self.inside.ndim != 2 or self.inside.dtype != np.bool_:
            raise ValueError(
                "the tissue raster must be bool (H, W), received "
                f"{self.inside.dtype} {self.inside.shape}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityMap:
    """Probabilities of IDC on the cells of a slide's grid, with what is needed to place them.

    Cell (r, c) covers level-0 x from ``origin_l0[0] + c * step_l0[0]`` to
    ``origin_l0[0] + (c + 1) * step_l0[0]``, y likewise with r.

    Examples
    --------
    >>> map_ = ProbabilityMap.open("out/slides/case/probability.zarr")
    >>> map_
    ProbabilityMap(8 x 11 cells of 400 µm, 88 classified, threshold 0...)
    >>> int((map_.values >= map_.threshold).sum()) <= int(map_.classified.sum())
    True
    """

    values: FloatArray
    """float32, shape (rows, cols): probability 0 to 1, NaN = not classified."""
    tissue: FloatArray
    """float32, shape (rows, cols): tissue fraction of each cell, 0 to 1."""
    origin_l0: tuple[int, int]
    """x, y of cell (0, 0), level-0 px."""
    step_l0: tuple[float, float]
    """Side of a cell along x and y, level-0 px."""
    mpp: Mpp
    """Of level 0, µm/px."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """The group attributes `wsi_pipeline` of the store (see README)."""
    raw: FloatArray | None = None
    """The map before refinement by its neighbors, where that was done."""
    uncertainty: FloatArray | None = None
    """Spread of the probability over the views of test-time augmentation."""
    quality: NDArray[np.uint8] | None = None
    """Bit flags of each cell, see `wsi_pipeline.tissue.quality`."""
    estimated: NDArray[np.uint8] | None = None
    """1 = not classified itself: `values` holds the mean of classified neighbors, all of them low.
    None where every value was classified."""
    patches: NDArray[np.uint8] | None = None
    """How many classified patches cover the cell, where borders alone were refined: less than the
    square of patch side over stride = the others that cover it were estimated from their neighbors.
    None where there was no such choice."""
    familiarity: FloatArray | None = None
    """float32: share of the training data's patches that look as strange to the network or
    stranger, 0 to 1; low = it has seen nothing like it. None: it cannot be known."""
    mask: TissueRaster | None = None
    """The tissue mask; None in maps of versions that did not store it."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            raise ValueError(
                "values must be float32 (rows, cols), received "
                f"{self.values.dtype} {self.values.shape}"
            )
        for name in ("tissue", *OPTIONAL_LAYERS):
            array = getattr(self, name)
            if array is not None and array.shape != self.values.shape:
                raise ValueError(
                    f"{name} must have the map's shape {self.values.shape}, received {array.shape}"
                )

    def __repr__(self) -> str:
        rows, cols = self.values.shape
        return (
            f"ProbabilityMap({rows} x {cols} cells of {self.cell_um[0]:g} µm, "
            f"{int(self.classified.sum())} classified, threshold {self.threshold:.3f})"
        )

    @property
    def nbytes(self) -> int:
        """Memory that its arrays take; the mask is by far the largest."""
        layers = (getattr(self, name) for name in ("values", "tissue", *OPTIONAL_LAYERS))
        n_bytes: int = sum(layer.nbytes for layer in layers if layer is not None)
        return n_bytes + (self.mask.inside.nbytes if self.mask is not None else 0)

    @property
    def classified(self) -> BoolMask:
        """True where the cell itself was classified."""
        known: BoolMask = ~np.isnan(self.values)
        return known if self.estimated is None else known & (self.estimated == 0)

    @property
    def cells_per_patch(self) -> int:
        """Cells along one side of a patch."""
        patch, stride = (
            int(self.attributes.get(f"{name}_px") or 1) for name in ("patch", "stride")
        )
        return patch // stride

    @property
    def cell_um(self) -> tuple[float, float]:
        """Side of a cell along x and y, µm."""
        return (self.step_l0[0] * self.mpp.x, self.step_l0[1] * self.mpp.y)

    @property
    def cell_area_mm2(self) -> float:
        """Area of one cell, mm²."""
        x, y = self.cell_um
        return x * y / 1e6

    @property
    def threshold(self) -> float:
        """Probability from which the run called IDC."""
        return float(self.attributes.get("threshold", 0.5))

    @property
    def familiarity_caution(self) -> str:
        """What has to stand in every picture of the map, see `familiarity_caution`."""
        known = self.attributes.get("familiarity")
        unknown = str(self.attributes.get("familiarity_unknown") or "")
        return familiarity_caution(known["familiar"] if known else None, unknown)

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """Scanned bounds x, y, width, height, level-0 px."""
        x, y, width, height = self.attributes["bounds_l0"]
        return (int(x), int(y), int(width), int(height))

    @classmethod
    def open(cls, path: str | Path, root: Path | None = None) -> Self:
        """Read a `probability.zarr` of either NGFF version.

        Parameters
        ----------
        path : str or Path
            The folder.
        root : Path, optional
            A folder above it that others may write to: nothing between may be a link.

        Raises
        ------
        StorageError
            Where there is none, it is damaged, or it holds anything that `write_map` does not
            write.
        """
        path = Path(path)
        names = ("0", "tissue", *OPTIONAL_LAYERS, MASK)
        attributes, layers = read_group(path, names, root)
        try:
            (origin_x, origin_y), (step_x, step_y), (mpp_x, mpp_y) = (
                attributes[name] for name in ("origin_l0", "step_l0", "mpp")
            )
            return cls(
                layers["0"],
                layers["tissue"],
                (int(origin_x), int(origin_y)),
                (float(step_x), float(step_y)),
                Mpp(float(mpp_x), float(mpp_y)),
                attributes,
                **{name: layers.get(name) for name in OPTIONAL_LAYERS},
                mask=_raster(layers[MASK], attributes[MASK]) if MASK in layers else None,
            )
        except (KeyError, ValueError, TypeError) as exc:
            raise damaged(path, exc) from exc


def familiarity_caution(familiar: bool | None, unknown: str) -> str:
    """Return what has to stand beside the figures of a slide; "" where it is familiar.

    Parameters
    ----------
    familiar : bool or None
        None where it cannot be known, which must never look like "familiar".
    unknown : str
        Why it cannot be known; empty in results of versions that did not say so.
    """
    if familiar is None:
        why = unknown or "it was not measured"
        return f"familiarity to the model cannot be known: {why}"
    return "" if familiar else UNFAMILIAR


def _raster(inside: NDArray[np.uint8], place: Mapping[str, Any]) -> TissueRaster:
    (x, y), (step_x, step_y) = place["origin_l0"], place["step_l0"]
    return TissueRaster(inside > 0, (float(x), float(y)), (float(step_x), float(step_y)))
