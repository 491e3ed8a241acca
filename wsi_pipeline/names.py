"""Names of files and slides as people and systems write them: compared, shown, made into folders.

Linux takes any bytes for a name, Windows no ``:`` and no second case, macOS writes "ä" as "a" and
two dots above. A name is passed on as the system gave it; only here is it translated.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

FOLDER_BYTES: Final = 120
"""Most bytes of a folder's name. File systems take 255 a name, and Windows 260 for a whole path."""
_FORBIDDEN: Final = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]')
"""In folders' names: what some system does not take, and what turns the direction of writing."""
_ENDS: Final = re.compile(r"^\s+|[\s.]+$")
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
VISIBLE: Final = {code: chr(0x2400 + code) for code in range(0x20)}
"""Control characters as signs that can be seen and do nothing to a terminal."""
_SYSTEM_FOLDERS: Final = frozenset({"__macosx", "@eadir", "$recycle.bin", "#recycle"})
_ESCAPED: Final = re.compile(r"\\x([89a-f][0-9a-f])")
_WINDOWS_PATH: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def matching(name: str) -> str:
    """Return what two names have in common that a person takes for the same.

    Composed and decomposed letters (NFC and NFD) and capitals make no difference.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def best_match(name: str, known: Iterable[str]) -> str | None:
    """Return which of the known names is meant: the very name, else the one that matches it.

    None where none does, or several do.
    """
    names = list(known)
    if name in names:
        return name
    found = [one for one in names if matching(one) == matching(name)]
    return found[0] if len(found) == 1 else None


def shown(name: str | Path) -> str:
    r"""Return a name as it can be printed and stored.

    Bytes that are no UTF-8 become ``\xe4``, control characters become signs.
    """
    return printable(os.fspath(name)).translate(VISIBLE)


def printable(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: bytes of names that are none become ``\xe4``."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, as Windows allows
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def as_stored(text: str) -> str:
    """Return the name that `shown` made this text of."""
    name = text.translate({ord(sign): code for code, sign in VISIBLE.items()})
    return _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), name)


def folder_name(stem: str) -> str:
    """Return a name as that of a folder on any system, readable and no longer than allowed.

    Most names stay as they are. Signs that some system forbids become ``_``. Bytes that are no
    UTF-8 are taken for Western European. Of a name that is too long both ends stay, with a short
    hash of the whole between them, so that names that differ in the middle differ here too.
    """
    name = _ENDS.sub("", _FORBIDDEN.sub("_", _decoded(stem))) or "slide"
    if _DEVICES.fullmatch(name):
        name = f"_{name}"
    return _shortened(name, FOLDER_BYTES)


def is_windows_path(text: str) -> bool:
    """Return whether a text is an absolute path of Windows, and this is another system."""
    return os.name != "nt" and bool(_WINDOWS_PATH.match(text))


def find_named(folder: Path, text: str) -> Path:
    r"""Return the file that a path in a list means.

    Parameters
    ----------
    folder : Path
        What relative paths count from.
    text : str
        As a person, Excel or another system wrote it: with ``/`` or ``\``, with letters in another
        normal form or case, with bytes as `shown` shows them.

    Returns
    -------
    Path
        A file that is there, where one is meant; else the path as it stands.
    """
    readings = [os.path.expanduser(text), text, as_stored(text)]  # noqa: PTH111 - text, not yet a path
    if not is_windows_path(text):
        readings += [one.replace("\\", "/") for one in readings]
    for one in dict.fromkeys(readings):
        found = _as_listed(folder / one)
        if found is not None:
            return found
    return folder / readings[-1] if "\\" in text and not is_windows_path(text) else folder / text


def is_there(path: Path) -> bool:
    """Return whether a path exists; one that no file system takes does not."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, no permission; a NUL
        return False


def is_hidden(path: Path) -> bool:
    """Return whether a file below a folder, or a folder on the way to it, is a system's own.

    macOS lays "._a.png" beside every file on a foreign drive, servers keep thumbnails.
    """
    return any(part[0] == "." or part.casefold() in _SYSTEM_FOLDERS for part in path.parts)


def _decoded(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogatepass")
        try:
            raw = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return raw.decode("utf-8", "replace")
        return raw.decode("cp1252", "replace")
    return name


def _shortened(name: str, n_bytes: int) -> str:
    if len(name.encode()) <= n_bytes:
        return name
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:8]}~"
    room = n_bytes - len(mark)
    head = name.encode()[: room * 2 // 3].decode("utf-8", "ignore")
    tail = name.encode()[-(room // 3) :].decode("utf-8", "ignore")
    return f"{head.rstrip()}{mark}{tail.lstrip()}"


def _as_listed(path: Path) -> Path | None:
    """Return the path as the file system has it, part by part; None where there is no such file."""
    if is_there(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        step = found / part
        if part != ".." and not is_there(step):
            name = best_match(part, _listed(found))
            if name is None:
                return None
            step = found / name
        found = step
    return found


def _listed(folder: Path) -> Sequence[str]:
    try:
        return _names_in(os.fspath(folder), folder.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=64)
def _names_in(folder: str, _mtime_ns: int) -> tuple[str, ...]:
    return tuple(os.listdir(folder))  # noqa: PTH208 - names alone, of perhaps 10,000 slides


def distinct_id(stem: str, path: Path, taken: Mapping[str, str]) -> str:
    """Return an id for a slide that nobody has, readable, as a folder's name.

    Parameters
    ----------
    stem : str
        What it would be called.
    path : Path
        Of the slide's file: folders above it tell it from a slide of the same name.
    taken : mapping of str to str
        The ids that are given, as `matching` has them, and the path that each stands for.

    Returns
    -------
    str
        The stem; else the stem with the nearest folder before it whose name differs from that of
        the slide which has the stem; else with a number.
    """
    if matching(stem) not in taken:
        return stem
    others = Path(taken[matching(stem)]).parents
    for level, folder in enumerate(path.parents):
        if not folder.name:
            break
        differs = level >= len(others) or matching(others[level].name) != matching(folder.name)
        name = folder_name(f"{folder.name}_{stem}")
        if differs and matching(name) not in taken:
            return name
    number = 2
    while matching(folder_name(f"{stem}_{number}")) in taken:
        number += 1
    return folder_name(f"{stem}_{number}")
