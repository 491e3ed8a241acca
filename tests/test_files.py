"""Atomic writing, and an operating system's errors in words."""

import errno
import os
from pathlib import Path

import pytest

from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import (
    open_below,
    read_below,
    read_json,
    storing,
    write_atomic,
    write_folder,
)


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
    assert list(tmp_path.iterdir()) == [path]


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
    inside = {place for place, is_named in flushed if not is_named}
    [part] = [place for place in inside if place.endswith(".part")]
    assert inside == {part + end for end in ("", "/a", "/0", "/0/0", "/0/0/0")}
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


def test_a_planted_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_bytes(b"mine")
    out.mkdir()
    for name in ("review.json", "review.json.part"):
        (out / name).symlink_to(victim)
    write_atomic(out / "review.json", b"new", root=out)
    assert victim.read_bytes() == b"mine"
    assert (out / "review.json").read_bytes() == b"new"
    assert not (out / "review.json").is_symlink()


def test_a_folder_behind_a_planted_link_is_not_written_to(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "slides").symlink_to(elsewhere)
    with pytest.raises(StorageError, match=r"a link stands in the way.*remove it"):
        write_atomic(out / "slides" / "review.json", b"new", root=out)
    assert list(elsewhere.iterdir()) == []


def test_an_output_folder_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "disk")
    write_atomic(out / "a.json", b"[1]", root=out)
    assert read_json(out / "a.json", root=out) == [1]


@pytest.mark.parametrize("place", ["slides/x.json", "slides", "x.json"])
def test_nothing_is_read_through_a_link(tmp_path: Path, place: str) -> None:
    secret, out = tmp_path / "secret", tmp_path / "out"
    (secret / "slides").mkdir(parents=True)
    (secret / "slides" / "x.json").write_text("{}")
    link = out / place
    link.parent.mkdir(parents=True)
    link.symlink_to(secret / "slides" / "x.json" if place.endswith("json") else secret / "slides")
    asked = link if place.endswith("json") else link / "x.json"
    with pytest.raises(OSError, match="a link stands in the way"):
        read_below(asked, root=out, most_bytes=10)


def test_a_pipe_does_not_make_a_reader_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status.json")
    with pytest.raises(OSError, match="no regular file"):
        read_below(tmp_path / "status.json", root=tmp_path, most_bytes=10)


def test_a_second_name_of_a_foreign_file_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "log").hardlink_to(victim)
    with pytest.raises(OSError, match="another name of the same file"):
        open_below(tmp_path / "log", os.O_WRONLY | os.O_APPEND, root=tmp_path)


def test_no_more_is_read_than_was_expected(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="larger than"):
        read_below(tmp_path / "a", root=tmp_path, most_bytes=10)


def test_json_that_is_nested_too_deep_is_damaged_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deep"):
        read_json(tmp_path / "a.json")


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"", mode=0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
