"""Which of the user's masks belongs to which slide."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from wsi_pipeline.annotations import ANNOTATION_SUFFIXES, annotation_stem, owner_of, slide_names
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.inputs.slide_list import SlideEntry
from wsi_pipeline.names import is_hidden, is_there
from wsi_pipeline.tissue import MASK_SUFFIXES

logger = logging.getLogger(__name__)

_WORDS: Final = frozenset({"", "mask", "tissue", "tissue_mask", "tissue-mask"})
"""What a mask's name may say beside the slide's."""
_OF_ANY_NAME: Final = (*ANNOTATION_SUFFIXES, ".png")
"""Of masks that are named by the slide alone; a TIFF or JPEG of that name may be the slide."""


def masks_of(mask: Path | None, entries: Sequence[SlideEntry]) -> dict[str, Path]:
    """Return each slide's mask by its id; a slide without one is told.

    Parameters
    ----------
    mask : Path, optional
        A file, which is the mask of every slide; or a folder (searched with its subfolders) of
        files that are named by a slide: its id, or its file's name with or without the suffix,
        alone or followed by "_mask" or "_tissue".
    entries : sequence of SlideEntry
        The slides.

    Raises
    ------
    ConfigError
        Where the mask does not exist, or a folder has none for any of the slides.
    """
    if mask is None:
        return {}
    if not is_there(mask):
        raise ConfigError(f"no {mask}", "Name a mask or a folder of masks")
    if mask.is_file():
        _warn_of_one_for_all(mask, entries)
        return {entry.slide_id: mask for entry in entries}
    found = _in_folder(mask, entries)
    if not found:
        raise ConfigError(
            f"--mask {mask} holds no mask of these slides",
            "Give a GeoJSON or PNG file, or a folder of <slide_id>.geojson or .png",
        )
    without = [entry.slide_id for entry in entries if entry.slide_id not in found]
    if without:
        logger.warning(
            "%d of %d slides have no mask in %s (%s): their tissue is found automatically",
            len(without),
            len(entries),
            mask,
            _some(without),
        )
    return found


def _in_folder(folder: Path, entries: Sequence[SlideEntry]) -> dict[str, Path]:
    names = slide_names((entry.slide_id, str(entry.path)) for entry in entries)
    found: dict[str, Path] = {}
    unused: list[str] = []
    for path in _candidates(folder):
        owner = owner_of(annotation_stem(path.name), names)
        if owner is None or not _is_mask(path, owner[1]):
            unused.append(path.name)
        elif owner[0] in found:
            kept = found[owner[0]]
            logger.warning("%s has two masks, %s is taken, not %s", owner[0], kept.name, path.name)
        else:
            found[owner[0]] = path
    if unused and found:
        logger.warning(
            "%d files in %s are no slide's mask (%s)", len(unused), folder, _some(unused)
        )
    return found


def _is_mask(path: Path, rest: str) -> bool:
    """Return whether a file named by a slide is its mask; the slide itself may lie beside it."""
    needs_a_word = not path.name.lower().endswith(_OF_ANY_NAME)
    return rest.casefold() in _WORDS and (bool(rest) or not needs_a_word)


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield what may be a mask: outlines first, pictures after them."""
    files = (path for path in folder.rglob("*") if path.name.lower().endswith(MASK_SUFFIXES))
    visible = [path for path in files if not is_hidden(path.relative_to(folder))]
    yield from sorted(visible, key=lambda path: (_rank(path), path))


def _rank(path: Path) -> int:
    return next(i for i, suffix in enumerate(MASK_SUFFIXES) if path.name.lower().endswith(suffix))


def _warn_of_one_for_all(mask: Path, entries: Sequence[SlideEntry]) -> None:
    if len(entries) > 1:
        logger.warning("%s is the mask of all %d slides", mask, len(entries))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
