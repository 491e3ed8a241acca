"""The formats of the `export` command, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import ConfigError, StorageError
from wsi_pipeline.export.csv import write_csv
from wsi_pipeline.export.dicom import write_parametric_map, write_segmentation
from wsi_pipeline.export.geojson import write_geojson, write_tiles_geojson
from wsi_pipeline.export.ome_tiff import write_probability_tiff, write_rendering_tiff
from wsi_pipeline.export.xml import write_aperio_xml
from wsi_pipeline.maps import ProbabilityMap, write_map
from wsi_pipeline.maps.regions import Regions


@dataclass(frozen=True, slots=True, eq=False)
class ExportSource:
    """What the formats are made of."""

    map_: ProbabilityMap
    regions: Regions
    cell_rgb: NDArray[np.uint8]
    """Color of each cell for renderings, shape (rows, cols, 3)."""
    slide_path: Path | None
    """The slide itself, needed by the DICOM formats alone; None where its content is nowhere."""

    def require_slide(self) -> Path:
        """Return the slide's file.

        Raises
        ------
        StorageError
            Where no file with the content that was run is to be found.
        """
        if self.slide_path is None:
            name = self.map_.attributes.get("slide", {}).get("name", "the slide")
            raise StorageError(
                f"{name}: no file with the content that was run is where the run found it",
                "Give the folder in which the slide is now with --slides",
            )
        return self.slide_path


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is written."""

    file_name: str
    words: str
    """What help says of it."""
    write: Callable[[ExportSource, Path], None]


FORMATS: Final[dict[str, Format]] = {
    "geojson": Format(
        "regions.geojson",
        "regions as QuPath annotations, level-0 px",
        lambda s, p: write_geojson(s.map_, s.regions, p),
    ),
    "geojson-gz": Format(
        "regions.geojson.gz",
        "the same, gzipped; QuPath opens both",
        lambda s, p: write_geojson(s.map_, s.regions, p),
    ),
    "geojson-tiles": Format(
        "tiles.geojson.gz",
        "every classified patch as a QuPath tile, gzipped",
        lambda s, p: write_tiles_geojson(s.map_, p),
    ),
    "csv": Format(
        "patches.csv",
        "one row a classified patch, WSInfer's columns",
        lambda s, p: write_csv(s.map_, p),
    ),
    "ome-tiff": Format(
        "probability.ome.tif",
        "probabilities, float32, pyramidal, NaN = not classified",
        lambda s, p: write_probability_tiff(s.map_, p),
    ),
    "ome-tiff-rgb": Format(
        "rendering.ome.tif",
        "the same in colors",
        lambda s, p: write_rendering_tiff(s.map_, s.cell_rgb, p),
    ),
    "ome-zarr-0.5": Format(
        "probability.ome.zarr",
        "the map as NGFF 0.5",
        lambda s, p: write_map(s.map_, p, ngff="0.5"),
    ),
    "aperio-xml": Format(
        "regions.xml",
        "regions for Aperio ImageScope",
        lambda s, p: write_aperio_xml(s.map_, s.regions, p),
    ),
    "dicom-seg": Format(
        "segmentation.dcm",
        "fractional DICOM segmentation (DICOM slides; needs highdicom)",
        lambda s, p: write_segmentation(s.map_, s.require_slide(), p),
    ),
    "dicom-pm": Format(
        "parametric_map.dcm",
        "DICOM parametric map (DICOM slides; needs highdicom)",
        lambda s, p: write_parametric_map(s.map_, s.require_slide(), p),
    ),
}
"""Every format that `export --to` takes."""


def export_to(format_name: str, source: ExportSource, folder: Path) -> Path:
    """Write one format into a folder and return the file's path.

    Raises
    ------
    ConfigError
        Where the format is unknown or needs a package that is not installed.
    SlideError
        Where a DICOM format is asked for a slide that is not DICOM.
    StorageError
        Where the file cannot be written.
    """
    if format_name not in FORMATS:
        raise ConfigError(f"no export format is called {format_name!r}", f"There are {[*FORMATS]}")
    chosen = FORMATS[format_name]
    path = folder / chosen.file_name
    chosen.write(source, path)
    return path
