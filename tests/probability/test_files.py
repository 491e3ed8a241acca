"""Atomic writing, and an operating system's errors in words."""

import errno
import os
from pathlib import Path

import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.probability.files import part_path, storing, write_atomic


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
