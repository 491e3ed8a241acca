"""Which files below a folder are slides."""

from __future__ import annotations

from pathlib import Path

from wsi_pipeline.errors import ConfigError, SlideOpenError
from wsi_pipeline.slides import SLIDE_SUFFIXES, open_slide


def slides_in_folder(folder: Path) -> list[Path]:
    """Return the slides below a folder, in the order of their names.

    Raises
    ------
    ConfigError
        Where there is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SLIDE_SUFFIXES and path.is_file() and path.name[0] != "."
    )
    if not found:
        raise ConfigError(
            f"{folder} holds no slides", f"Looked for {', '.join(sorted(SLIDE_SUFFIXES))}"
        )
    return _one_a_series(found)


def _one_a_series(paths: list[Path]) -> list[Path]:
    """Keep one file of each DICOM series: any of them opens the whole slide."""
    seen: set[tuple[Path, str]] = set()
    kept = []
    for path in paths:
        if path.suffix.lower() == ".dcm":
            try:
                with open_slide(path) as reader:
                    series = (path.parent, reader.info.quickhash)
            except SlideOpenError:
                series = (path.parent, path.name)  # fails, by name, when its turn comes
            if series in seen:
                continue
            seen.add(series)
        kept.append(path)
    return kept
