"""Fonts for names in any script: the system's own, else the name in Latin letters, never boxes.

DejaVu Sans, which comes with matplotlib, has Latin, Greek, Cyrillic, Arabic and Hebrew. Chinese,
Japanese and Korean, and whatever else it lacks, are drawn with the first font of the system that
has them. Where none has, letters are spelled in Latin ones (QiePianYi for 切片一).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, TypedDict

from anyascii import anyascii
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

from wsi_pipeline.names import shown

logger = logging.getLogger(__name__)

BASE: Final = "DejaVu Sans"
PREFERRED: Final = (
    *("noto sans cjk", "notosanscjk", "source han sans", "sourcehansans", "noto sans", "notosans"),
    *("pingfang", "hiragino", "apple sd gothic", "applesdgothic", "arial unicode"),
    *("msyh", "yahei", "yugoth", "yu gothic", "meiryo", "malgun", "simhei", "simsun"),
    *("wqy", "wenquanyi", "droid", "ipaex", "nanum", "unifont"),
)
"""Parts of names of fonts, in small letters, that are tried before all others."""
_NEVER: Final = ("last resort", "lastresort", "color", "emoji", "/cm", "stixsiz", "stixnon")
"""Boxes for everything, pictures that cannot be drawn, pieces of formulas."""
_INSTEAD: Final = "·"
"""For what has neither a letter in any font nor a spelling."""


class TextStyle(TypedDict, total=False):
    """Arguments of matplotlib's texts."""

    fontfamily: list[str]
    fontweight: str


def drawable(words: str) -> tuple[str, TextStyle]:
    """Return words that can be drawn without a missing letter, and how to draw them.

    Parameters
    ----------
    words : str
        Whatever somebody named a slide.

    Returns
    -------
    words : str
        As they were where fonts have all letters.
    style : dict
        For matplotlib's `Text`; empty where the usual font has them.
    """
    words = shown(words)
    missing = frozenset(words) - _letters(_base_path()) - {"\n"}
    if not missing:
        return words, {}
    families, still_missing = _families_with(missing)
    spelled = "".join(_spelled(char) if char in still_missing else char for char in words)
    return spelled, _style(families)


def has_font_for(words: str) -> bool:
    """Return whether the words are drawn in their own letters."""
    return drawable(words)[0] == words


def _style(families: tuple[str, ...]) -> TextStyle:
    if not families:
        return {}
    style: TextStyle = {"fontfamily": [BASE, *families]}
    if not all(map(_has_bold, families)):  # matplotlib would log each time that it has none
        style["fontweight"] = "normal"
    return style


def _has_bold(family: str) -> bool:
    entries = (e for e in font_manager.fontManager.ttflist if e.name == family)
    return any(entry.weight in ("bold", "heavy", "black", 700, 800, 900) for entry in entries)


def _spelled(char: str) -> str:
    latin = anyascii(char)
    return latin if latin and frozenset(latin) <= _letters(_base_path()) else _INSTEAD


@lru_cache(maxsize=256)
def _families_with(chars: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the families that together have the characters, and those that none has."""
    families: list[str] = []
    for path in _candidates():
        if not chars & _letters(path):
            continue
        family = _family_of(path)
        if found := chars & _drawn_letters(family):
            families.append(family)
            chars -= found
        if not chars:
            break
    return tuple(families), chars


@lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    """Return the paths of all fonts, the preferred ones first; also those installed just now."""
    known = [entry.fname for entry in font_manager.fontManager.ttflist]
    paths = dict.fromkeys([*known, *font_manager.findSystemFonts()])
    usable = [path for path in paths if not any(word in _key(path) for word in _NEVER)]
    return tuple(sorted(usable, key=lambda path: (_rank(path), path)))


def _rank(path: str) -> int:
    name = _key(path)
    ranks = (rank for rank, word in enumerate(PREFERRED) if word in name)
    return next(ranks, len(PREFERRED))


def _key(path: str) -> str:
    return f"/{Path(path).name.lower()}"


def _family_of(path: str) -> str:
    for entry in _entries_of(path):
        return str(entry.name)
    font_manager.fontManager.addfont(path)
    return str(next(_entries_of(path)).name)


def _entries_of(path: str) -> Iterator[font_manager.FontEntry]:
    return (entry for entry in font_manager.fontManager.ttflist if entry.fname == path)


def _drawn_letters(family: str) -> frozenset[str]:
    """Return the characters in the files that matplotlib takes for the family, upright and bold.

    A style of a family may have letters that its upright file lacks (DejaVu Serif Italic).
    """
    weights = ["normal", "bold"] if _has_bold(family) else ["normal"]
    fonts = [FontProperties(family=[family], weight=weight) for weight in weights]
    return frozenset.intersection(*(_letters(str(font_manager.findfont(f))) for f in fonts))


def _base_path() -> str:
    return str(font_manager.findfont(BASE))


@lru_cache(maxsize=64)
def _letters(path: str) -> frozenset[str]:
    """Return the characters that a font has; none where it cannot be read."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError) as error:
        logger.debug("font %s cannot be used: %s", path, error)
        return frozenset()
