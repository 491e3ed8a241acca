"""What a run is compared with: another run, or outlines that pathologists drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsi_pipeline.errors import ConfigError
from wsi_pipeline.results.finished import FinishedSlide, finished_folders, read_finished
from wsi_pipeline.results.slide_files import read_status

OUTLINE_SUFFIXES: Final = (".geojson.gz", ".json.gz", ".geojson", ".json", ".xml", ".png")
TRUTH_WORD: Final = "_truth"
"""A picture in a folder is a truth image where its stem ends so: folders hold thumbnails too."""
_SEPARATORS: Final = "_-. "


@dataclass(frozen=True, slots=True)
class OutlineFile:
    """The outlines that one reader drew on one slide."""

    reader: str
    """What the file's path says beside the slide's id; the file's name where it says nothing."""
    path: Path


class RunReference:
    """Another run's finished slides, found by the hash of their content, else by id.

    Parameters
    ----------
    out : Path
        Its output folder.

    Raises
    ------
    IncompleteRunError
        Where it holds no finished slide.
    """

    def __init__(self, out: Path) -> None:
        self._folders = {folder.name: folder for folder in finished_folders(out)}
        self._by_hash: dict[str, Path] = {}
        for folder in self._folders.values():
            quickhash = read_status(folder).get("file", {}).get("quickhash")
            if quickhash:
                self._by_hash.setdefault(quickhash, folder)

    @property
    def slide_ids(self) -> set[str]:
        """Ids of its finished slides."""
        return set(self._folders)

    def find(self, slide: FinishedSlide) -> FinishedSlide | None:
        """Return the results of the same slide; None where there are none.

        Raises
        ------
        StorageError
            Where they cannot be read.
        """
        folder = self._by_hash.get(slide.quickhash or "") or self._folders.get(slide.slide_id)
        return None if folder is None else read_finished(folder)


def is_run(path: Path) -> bool:
    """Return whether a path is the output folder of a run."""
    return (path / "slides").is_dir()


def match_outlines(path: Path, slide_ids: Sequence[str]) -> dict[str, list[OutlineFile]]:
    """Return the outline files of each slide.

    Parameters
    ----------
    path : Path
        A file, or a folder that is searched with what is in it.
    slide_ids : sequence of str
        A file belongs to the slide whose id it is named by, alone or followed by ``_``, ``-``,
        ``.`` or a space and more (a reader's name, "_truth"); the longest such id wins. A lone
        file belongs to the run's only slide whatever its name.

    Raises
    ------
    ConfigError
        Where there is no such path, or nothing in it belongs to a slide of the run.
    """
    if not path.exists():
        raise ConfigError(f"there is no {path}", "Give another run's folder, or outlines")
    if path.is_file() and len(slide_ids) == 1:
        return {slide_ids[0]: [OutlineFile(path.name, path)]}
    matched: dict[str, list[OutlineFile]] = {}
    for file in _candidates(path):
        slide_id = _slide_id_of(file, slide_ids)
        if slide_id is not None:
            reader = _reader_of(file, path, slide_id)
            matched.setdefault(slide_id, []).append(OutlineFile(reader, file))
    if not matched:
        raise ConfigError(
            f"{path} holds no outlines that are named by a slide of this run",
            f"Name them by the slide's id, e.g. {slide_ids[0]}.geojson or "
            f"{slide_ids[0]}{TRUTH_WORD}.png",
        )
    return matched


def _candidates(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        is_outline = file.name.lower().endswith(OUTLINE_SUFFIXES)
        is_picture = file.suffix.lower() == ".png" and not file.stem.endswith(TRUTH_WORD)
        if is_outline and not is_picture and file.is_file():
            yield file


def _slide_id_of(file: Path, slide_ids: Sequence[str]) -> str | None:
    stem = _stem(file)
    named = [
        i for i in slide_ids if stem == i or stem.startswith(tuple(i + s for s in _SEPARATORS))
    ]
    return max(named, key=len, default=None)


def _reader_of(file: Path, root: Path, slide_id: str) -> str:
    folder = file.parent.relative_to(root).parts if root.is_dir() else ()
    rest = _stem(file)[len(slide_id) :].strip(_SEPARATORS)
    return "/".join((*folder, *([rest] if rest else []))) or file.name


def _stem(file: Path) -> str:
    name = file.name
    for suffix in OUTLINE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return file.stem
