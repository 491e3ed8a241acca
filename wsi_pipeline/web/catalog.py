"""The slides of an output folder by id. No path of a request ever reaches the disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from wsi_pipeline.config import Config
from wsi_pipeline.files import read_json
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.results.finished import settings_of
from wsi_pipeline.results.layout import (
    MAP_NAME,
    RUN_RECORD_NAME,
    RUNS_NAME,
    SLIDES_NAME,
    STATUS_NAME,
    slide_folders,
)
from wsi_pipeline.results.locate import SlideLocator, holds
from wsi_pipeline.results.slide_files import shown_map
from wsi_pipeline.results.status import AnyStatus, Done, Empty, Failed, read_status
from wsi_pipeline.results.summary import SummaryRow, slide_row
from wsi_pipeline.slides import SlideSource
from wsi_pipeline.web.cache import ByteBoundCache
from wsi_pipeline.web.errors import NotFoundError

MAP_CACHE_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One slide of the run."""

    slide_id: str
    folder: Path
    status: AnyStatus | None
    """What stands in status.json; None where there is none."""

    @property
    def finished(self) -> Done | Empty:
        """The record with the slide's facts; one without any where it is not finished."""
        return self.status if isinstance(self.status, Done | Empty) else Done()

    @property
    def out(self) -> Path:
        """The output folder."""
        return self.folder.parent.parent

    @property
    def has_map(self) -> bool:
        """True where the slide was classified."""
        return (self.folder / MAP_NAME).is_dir()

    @property
    def fingerprint(self) -> str:
        """Changes whenever the slide is done again: part of addresses that browsers keep."""
        try:
            return f"{(self.folder / STATUS_NAME).stat().st_mtime_ns:x}"
        except OSError:
            return "0"


class Catalog:
    """What a run left, looked up by slide id.

    Parameters
    ----------
    out : Path
        The output folder.
    slides_dir : Path, optional
        Where the slide files are now, if not where the run found them; searched recursively.

    Raises
    ------
    IncompleteRunError
        Where `out` is not the output of a run.
    """

    def __init__(self, out: Path, slides_dir: Path | None = None) -> None:
        self.out = out
        self._slides_dir = slides_dir
        self._locator = SlideLocator(slides_dir)
        self._records: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._statuses: dict[str, tuple[int, AnyStatus | None]] = {}
        self._maps: ByteBoundCache[tuple[str, str], ProbabilityMap] = ByteBoundCache(
            MAP_CACHE_BYTES, lambda map_: map_.nbytes
        )
        self._lock = threading.Lock()
        self._listed: tuple[int, dict[str, Path]] = (0, {})
        self._folders()

    def entries(self) -> list[CatalogEntry]:
        """Return the slides, by id. New ones of a run that goes on appear."""
        return [
            CatalogEntry(name, folder, self._status(folder))
            for name, folder in self._folders().items()
        ]

    def entry(self, slide_id: str) -> CatalogEntry:
        """Return a slide of the run.

        Raises
        ------
        NotFoundError
            Where the run has no slide of that id.
        """
        folder = self._folders().get(slide_id)
        if folder is None:
            raise NotFoundError(
                "this run has no slide of that id", "Go back to the archive page and choose one"
            )
        return CatalogEntry(slide_id, folder, self._status(folder))

    def row(self, entry: CatalogEntry) -> SummaryRow:
        """Return the slide's row of the summary, without the places of files on this machine."""
        row = slide_row(entry.slide_id, entry.status)
        row["slide"] = Path(str(row.get("slide") or "")).name
        return row

    def map(self, entry: CatalogEntry) -> ProbabilityMap:
        """Return the probability map of a slide as its results show it, from memory if read before.

        Raises
        ------
        NotFoundError
            Where the slide has none.
        """
        if not entry.has_map:
            status = entry.status
            state = status.state if status else "unknown"
            advice = status.advice if isinstance(status, Done | Empty | Failed) else ""
            raise NotFoundError(
                f"slide {entry.slide_id} has no probability map (state {state})",
                advice or "Run the slide again",
            )
        key = (entry.slide_id, entry.fingerprint)
        return self._maps.get_or_make(key, lambda: self._read_map(entry))

    def _read_map(self, entry: CatalogEntry) -> ProbabilityMap:
        settings = settings_of(entry.status)
        map_ = shown_map(ProbabilityMap.open(entry.folder / MAP_NAME, root=self.out), settings)
        if settings.regions.threshold is None:
            return map_
        # `render --threshold` moves that of the results; the map's own may be of another time.
        attributes = {**map_.attributes, "threshold": settings.regions.threshold}
        return replace(map_, attributes=attributes)

    def source(self, entry: CatalogEntry) -> SlideSource | None:
        """Return how to open the slide's file; None where its content is not to be found."""
        found = self._locator.find(entry.status)
        if found is None or not self._may_open(found):
            return None
        return SlideSource(found, apply_icc=self.config.slide.apply_icc)

    def holds_other_content(self, entry: CatalogEntry) -> bool:
        """Return whether another slide lies now where this one was."""
        status = entry.status
        place = Path(status.slide.replace("\0", "")) if status else Path()
        return status is not None and place.is_file() and not holds(place, status)

    @property
    def record(self) -> Mapping[str, Any]:
        """What stands in run.json, of whatever version; empty where there is none."""
        return self._record(self.out / RUN_RECORD_NAME)

    def _record(self, path: Path) -> Mapping[str, Any]:
        """Return the record of a run, read again only where it changed."""
        try:
            mtime = path.lstat().st_mtime_ns
            known = self._records.get(path)
            if known is None or known[0] != mtime:
                record = read_json(path, root=self.out)
                known = (mtime, record if isinstance(record, dict) else {})
                self._records[path] = known
        except (OSError, ValueError):
            return {}
        return known[1]

    @property
    def config(self) -> Config:
        """The configuration of the run; the defaults where its record holds none."""
        try:
            return Config.model_validate(self.record.get("config", {}))
        except ValidationError:
            return Config()

    def _may_open(self, path: Path) -> bool:
        """Tell whether a file that a status names lies where the run, or `--slides`, looked.

        A status that somebody else wrote into the output folder must not make any picture of this
        machine visible.
        """
        try:
            place = path.resolve()
        except (OSError, RuntimeError, ValueError):
            return False
        folders = self._named_folders()
        return any(folder in folders for folder in place.parents)

    def _named_folders(self) -> set[Path]:
        """Return the folders of the slides that the runs' records name, and `--slides`."""
        runs = sorted((self.out / RUNS_NAME).glob("*.json"))
        folders: set[Path | None] = {self._slides_dir.resolve() if self._slides_dir else None}
        for path in (self.out / RUN_RECORD_NAME, *runs):
            slides = self._record(path).get("slides")
            named = slides if isinstance(slides, list) else []
            folders |= {_folder(str(slide)) for slide in named}
        return {folder for folder in folders if folder is not None}

    def _folders(self) -> dict[str, Path]:
        """Return the slides' folders by name, as the disk lists them: no id can point elsewhere."""
        slides = self.out / SLIDES_NAME
        mtime = slides.stat().st_mtime_ns if slides.is_dir() else -1
        if self._listed[0] != mtime:
            self._listed = (mtime, {folder.name: folder for folder in slide_folders(self.out)})
        return self._listed[1]

    def _status(self, folder: Path) -> AnyStatus | None:
        """Return status.json, read again only where it changed: archives have thousands."""
        try:
            mtime = (folder / STATUS_NAME).stat().st_mtime_ns
        except OSError:
            return None
        with self._lock:
            known = self._statuses.get(folder.name)
            if known is None or known[0] != mtime:
                known = self._statuses[folder.name] = (mtime, read_status(folder))
        return known[1]


@lru_cache(100_000)
def _folder(slide: str) -> Path | None:
    """Return where a slide lies; None for what is no place."""
    path = Path(slide)
    try:
        return path.resolve().parent if path.is_absolute() else None
    except (OSError, RuntimeError, ValueError):
        return None
