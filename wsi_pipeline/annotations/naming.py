"""Which slide a file of annotations or a mask is named by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final

from wsi_pipeline.names import matching

SEPARATORS: Final = "_-. "
"""What stands between a slide's name and more: a reader's name, "_truth"."""
_OME: Final = ".ome"


def slide_names(slides: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the id of the slide that a name means, by the name as `matching` compares it.

    Parameters
    ----------
    slides : iterable of (id, path of the file)
        A slide may be named by its id, and by its file's name with or without the suffix (QuPath's
        scripts keep it) where no other slide's file has the same.
    """
    ids: dict[str, str] = {}
    others: dict[str, set[str]] = {}
    for slide_id, path in slides:
        ids[matching(slide_id)] = slide_id
        file = PurePath(re.split(r"[/\\]", path)[-1])
        for name in (file.name, file.stem, file.stem.removesuffix(_OME)):
            others.setdefault(matching(name), set()).add(slide_id)
    return {name: min(found) for name, found in others.items() if len(found) == 1} | ids


def owner_of(stem: str, names: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the id of the slide that a file is named by and what its name says besides.

    Parameters
    ----------
    stem : str
        The file's name without its suffix: a slide's name, alone or followed by a separator and
        more. The longest such name wins.
    names : mapping of str to str
        See `slide_names`.

    Returns
    -------
    (str, str) or None
        None where no slide is meant.
    """
    key = matching(stem)
    ends = [match.start() for match in re.finditer(f"[{re.escape(SEPARATORS)}]", key)]
    for end in (len(key), *reversed(ends)):
        if key[:end] in names:
            composed = unicodedata.normalize("NFC", stem)
            rest = composed if len(composed) == len(key) else key
            return names[key[:end]], rest[end:].strip(SEPARATORS)
    return None
