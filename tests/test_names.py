"""Names: compared as people compare them, stored as systems can, shown as they are."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_pipeline.names import (
    FOLDER_BYTES,
    as_stored,
    best_match,
    find_named,
    folder_name,
    is_windows_path,
    shown,
)

LATIN_1 = os.fsdecode(b"Pr\xe4parat.tif")


def test_composed_and_decomposed_names_and_capitals_match() -> None:
    decomposed = unicodedata.normalize("NFD", "Präparat")
    assert best_match("präparat", [decomposed, "other"]) == decomposed


def test_the_very_name_stands_above_one_that_differs_in_case() -> None:
    assert best_match("a", ["A", "a"]) == "a"


def test_a_name_that_fits_several_means_none() -> None:
    assert best_match("ä", ["Ä", unicodedata.normalize("NFD", "ä")]) is None


def test_a_name_that_is_no_utf8_is_shown_and_read_back() -> None:
    assert shown(LATIN_1) == r"Pr\xe4parat.tif"
    assert as_stored(shown(LATIN_1)) == LATIN_1


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\\x" not in raw))
def test_any_bytes_are_shown_in_utf8_and_read_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    shown(name).encode()
    if not any(0x2400 <= ord(char) < 0x2420 for char in name):
        assert os.fsencode(as_stored(shown(name))) == raw


@given(st.text(st.characters(), max_size=400))
def test_any_name_becomes_a_folder_that_every_system_takes(name: str) -> None:
    made = folder_name(name)
    assert 0 < len(made.encode()) <= FOLDER_BYTES
    assert not set(made) & set('/\\:*?"<>|\0\n')
    assert made not in (".", "..")
    assert made == made.strip()
    assert not made.endswith(".")
    assert folder_name(made) == made


def test_a_usual_name_stays_as_it_is() -> None:
    for name in ("S24-0001_A1 HE (2)", "切片一", "Ж.scan", "a..b"):
        assert folder_name(name) == name


def test_bytes_that_are_no_utf8_are_taken_for_western_european() -> None:
    assert folder_name(Path(LATIN_1).stem) == "Präparat"


def test_names_that_differ_in_the_middle_differ_when_they_are_shortened() -> None:
    one, other = (folder_name("TCGA-" + "x" * 100 + middle + "y" * 140) for middle in "ab")
    assert one != other
    assert one.startswith("TCGA-xxx")
    assert one.endswith("yyy")


@pytest.mark.parametrize("name", ["CON", "nul", "com1.scan"])
def test_windows_names_of_devices_are_no_folders(name: str) -> None:
    assert folder_name(name) == f"_{name}"


def test_a_file_is_found_by_another_normal_form_and_case(tmp_path: Path) -> None:
    file = tmp_path / unicodedata.normalize("NFD", "Präparate") / "S1.tif"
    file.parent.mkdir()
    file.touch()
    assert find_named(tmp_path, "Präparate/s1.TIF") == file


def test_a_relative_path_of_windows_is_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.tif").touch()
    assert find_named(tmp_path, ".\\sub\\a.tif") == tmp_path / "sub" / "a.tif"


def test_a_name_shown_is_found_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / LATIN_1).touch()
    assert find_named(tmp_path, shown(LATIN_1)) == tmp_path / LATIN_1


@pytest.mark.parametrize("text", ["missing.tif", "x" * 300 + ".tif", "no/such/folder.tif", "a\0b"])
def test_what_is_not_there_stays_as_it_was_named(tmp_path: Path, text: str) -> None:
    assert find_named(tmp_path, text) == tmp_path / text


@pytest.mark.skipif(os.name == "nt", reason="there these are paths")
def test_paths_of_windows_are_known() -> None:
    assert all(map(is_windows_path, ["C:\\slides\\a.svs", "d:/a.svs", r"\\server\share\a.svs"]))
    assert not any(map(is_windows_path, ["a\\b.svs", "a:b.svs", "/c/a.svs"]))


def test_a_path_from_the_home_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.tif").touch()
    assert find_named(Path("elsewhere"), "~/a.tif") == tmp_path / "a.tif"
