"""Where the file of a slide is now, told by its content and never by its name."""

from __future__ import annotations

import os
from functools import cached_property, lru_cache
from pathlib import Path

from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.results.status import AnyStatus, Done, Empty
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.identity import Stamp, fingerprint, stamp_of


class SlideLocator:
    """Finds slides that may have been moved or renamed since they were done.

    Parameters
    ----------
    slides_dir : Path, optional
        Where they may be now, searched recursively; None: only the recorded place is looked at.
    """

    def __init__(self, slides_dir: Path | None = None) -> None:
        self._slides_dir = slides_dir

    def find(self, status: AnyStatus | None) -> Path | None:
        """Return the file with the content that was done; None where there is none.

        Files below the folder are told apart by their size first, and only those of the right size
        are read (1 MiB each, see `wsi_pipeline.slides.identity`).
        """
        if status is None or not status.slide:
            return None
        recorded = Path(status.slide.replace("\0", ""))
        if holds(recorded, status):
            return recorded
        n_bytes = status.file.bytes if isinstance(status, Done | Empty) else None
        candidates = self._by_size.get(n_bytes, []) if n_bytes is not None else []
        # Of equal copies the one of the recorded name.
        in_order = sorted(candidates, key=lambda path: (path.name != recorded.name, path))
        return next((path for path in in_order if holds(path, status)), None)

    @cached_property
    def _by_size(self) -> dict[int, list[Path]]:
        found: dict[int, list[Path]] = {}
        for folder, _, names in os.walk(self._slides_dir) if self._slides_dir else ():
            for path in (Path(folder) / name for name in names):
                try:
                    found.setdefault(path.stat().st_size, []).append(path)
                except OSError:
                    continue
        return found


def holds(path: Path, status: AnyStatus) -> bool:
    """Return whether a file is there and holds the slide that a record tells of.

    Where the record names no content (the slide failed, nothing was made of it) the file itself is
    all that can be asked for.
    """
    stamp = stamp_of(path)
    if stamp is None:
        return False
    if not isinstance(status, Done | Empty):
        return True
    if status.fingerprint:
        try:
            return fingerprint(path) == status.fingerprint
        except OSError:
            return False
    # done by a version that took no fingerprints
    return status.file.quickhash is None or _quickhash(path, stamp) == status.file.quickhash


@lru_cache(maxsize=1024)
def _quickhash(path: Path, _stamp: Stamp) -> str | None:
    try:
        with open_slide(path) as reader:
            return reader.info.quickhash
    except (WsiPipelineError, OSError):
        return None
