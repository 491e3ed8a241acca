"""The finished slides of an output folder, as `export` and `compare` take them up again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from wsi_pipeline.config import Config, load_config
from wsi_pipeline.errors import IncompleteRunError
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.regions import Regions
from wsi_pipeline.results.layout import MAP_NAME, slide_folders
from wsi_pipeline.results.slide_files import read_thumbnail_file, regions_of, shown_map
from wsi_pipeline.results.status import AnyStatus, Done, Empty, ResultSettings, read_status


@dataclass(frozen=True, slots=True, eq=False)
class FinishedSlide:
    """A slide's results, read back from its folder."""

    folder: Path
    status: Done | Empty
    """What stands in status.json."""
    map_: ProbabilityMap
    regions: Regions
    """As the run's own regions.geojson has them, unless another threshold was asked for."""

    @property
    def slide_id(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def quickhash(self) -> str | None:
        """Of the slide's content; None where the map states none."""
        value = self.map_.attributes.get("slide", {}).get("quickhash")
        return str(value) if value else None

    def thumbnail(self) -> RgbArray:
        """Return the stored picture of the scanned bounds, see `read_thumbnail_file`."""
        return read_thumbnail_file(self.folder)


def finished_folders(out: Path) -> list[Path]:
    """Return the folders of the slides that are done or empty, by name.

    Raises
    ------
    IncompleteRunError
        Where the folder is not the output of a run, or no slide of it is finished.
    """
    folders = [folder for folder in slide_folders(out) if _is_finished(folder)]
    if not folders:
        raise IncompleteRunError(f"{out} holds no finished slide", "Finish the run first")
    return folders


def read_finished(folder: Path, threshold: float | None = None) -> FinishedSlide:
    """Read a slide's results.

    Parameters
    ----------
    folder : Path
        Of the slide.
    threshold : float, optional
        Probability from which a cell is IDC; default: that of the regions that stand there.

    Raises
    ------
    IncompleteRunError
        Where the slide is not finished.
    StorageError
        Where the map cannot be read.
    """
    status = read_status(folder)
    if not isinstance(status, Done | Empty):
        raise IncompleteRunError(f"{folder} holds no finished slide", "Finish the run first")
    config = settings_of(status, threshold)
    map_ = shown_map(ProbabilityMap.open(folder / MAP_NAME), config)
    regions = regions_of(map_, config)
    # `render` moves the threshold without touching the stored map.
    attributes = {**map_.attributes, "threshold": regions.threshold}
    return FinishedSlide(folder, status, replace(map_, attributes=attributes), regions)


def _is_finished(folder: Path) -> bool:
    return isinstance(read_status(folder), Done | Empty) and (folder / MAP_NAME).is_dir()


def settings_of(status: AnyStatus | None, threshold: float | None = None) -> Config:
    """Return how the slide's regions were found, also after `render` has changed it.

    Parameters
    ----------
    status : AnyStatus or None
        What stands in its status.json.
    threshold : float, optional
        To find them at another one.
    """
    stored = status.settings if isinstance(status, Done | Empty) else None
    return load_config(None, (stored or ResultSettings()).overrides(threshold))
