"""How to open a slide, as plain data, and the readers that a process shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.slides.opening import open_slide
from wsi_pipeline.slides.pyramid import SlideReader


@dataclass(frozen=True, slots=True)
class SlideSource:
    """How to open a slide: plain data that goes to workers."""

    path: Path
    mpp: float | None = None
    """For slides that state none, µm/px."""
    mpp_override: Mpp | None = None
    """Stands above what the slide states."""
    apply_icc: bool = False
    copy: Path | None = None
    """The same file on a faster drive, read instead."""
    problem: str = ""
    """Why it cannot be opened although nothing was tried: the row of a list that makes no sense."""

    def open(self) -> SlideReader:
        """Open the slide anew; the caller closes it."""
        if self.problem:
            raise SlideOpenError(self.problem, "Correct the list, then run again")
        path = self.copy or self.path
        return open_slide(
            path, mpp=self.mpp, mpp_override=self.mpp_override, apply_icc=self.apply_icc
        )

    def open_shared(self) -> SlideReader:
        """Return the reader that all threads of this process share; nobody closes it."""
        return _shared_reader(self, self.stamp)

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time (ns) of the file, zeros where it is out of reach."""
        try:
            stat = self.path.stat()
        except (OSError, ValueError):
            return (0, 0)  # opening says what is wrong
        return (stat.st_size, stat.st_mtime_ns)


def forget_readers() -> None:
    """Let go of the readers that no thread uses, so that their files can go."""
    _shared_reader.cache_clear()


@lru_cache(maxsize=4)
def _shared_reader(source: SlideSource, _stamp: tuple[int, int]) -> SlideReader:
    # A file that was replaced in place is opened anew. A reader that falls out of the cache closes
    # with its last user.
    return source.open()
