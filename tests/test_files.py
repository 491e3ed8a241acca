"""Atomic writing, and an operating system's errors in words."""

import errno
import os
from pathlib import Path

import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import part_path, storing, write_atomic, write_folder


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_atomic(path, b"old and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    write_atomic(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left.*The disk is full: free space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert not part_path(path).exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no.*a\.csv.*missing or no longer reachable"):
        write_atomic(tmp_path / "no" / "a.csv", b"")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EACCES, "Check the permissions"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "Check the output folder"),
    ],
)
def test_each_reason_has_its_advice(tmp_path: Path, code: int, advice: str) -> None:
    with pytest.raises(StorageError) as caught, storing(tmp_path):
        raise OSError(code, os.strerror(code))
    assert advice in caught.value.advice


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "map.zarr"
    write_folder(path, {"old": b"1", "deep/er/old": b"2"})
    write_folder(path, {"a": b"x", "0/0/0": b"y"})
    files = {str(file.relative_to(path)): file.read_bytes() for file in all_files(path)}
    assert files == {"a": b"x", str(Path("0/0/0")): b"y"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_has_its_name_only_once_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.zarr"
    flushed, sync = [], os.fsync

    def note(descriptor: int) -> None:
        flushed.append((os.path.realpath(f"/proc/self/fd/{descriptor}"), path.exists()))
        sync(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no way to tell what a descriptor stands for")
    monkeypatch.setattr(os, "fsync", note)
    write_folder(path, {"a": b"x", "0/0/0": b"y"})
    part = os.path.realpath(part_path(path))
    inside = {part + end for end in ("", "/a", "/0", "/0/0", "/0/0/0")}
    assert {place for place, is_named in flushed if not is_named} == inside
    assert [place for place, is_named in flushed if is_named] == [os.path.realpath(tmp_path)]


def test_a_folder_that_cannot_be_flushed_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.zarr"
    write_folder(path, {"a": b"old"})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_folder(path, {"a": b"new"})
    assert (path / "a").read_bytes() == b"old"


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
