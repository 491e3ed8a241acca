"""An output folder that others can write to: a run writes nothing elsewhere, and reads nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PhantomFactory
from wsi_pipeline.cli.main import main
from wsi_pipeline.errors import StorageError
from wsi_pipeline.execution.locks import review_lock
from wsi_pipeline.geometry import Box, Size

MODEL = str(Path(__file__).parents[1] / "models" / "darkness")
KEPT = "what is mine"


@pytest.fixture
def out(tmp_path: Path, phantom_factory: PhantomFactory) -> Path:
    """Return an output folder to be, beside a slide and a file of somebody's own."""
    phantom_factory("a.tif", size_l0=Size(2048, 1536), hot_box_l0=Box(400, 400, 400, 400))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text(KEPT)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def run(out: Path) -> int:
    return main(["run", str(out.parent / "a.tif"), "-o", str(out), "--model", MODEL])


def nothing_was_touched(out: Path) -> bool:
    mine = out.parent / "mine"
    return [p.name for p in mine.iterdir()] == ["file"] and (mine / "file").read_text() == KEPT


@pytest.mark.parametrize("name", ["slides", "slides/a", "runs", ".locks", "gallery"])
def test_a_folder_that_is_a_link_is_not_written_to(
    out: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).symlink_to(out.parent / "mine")
    assert run(out) != 0
    assert "a link" in capsys.readouterr().err
    assert nothing_was_touched(out)


@pytest.mark.parametrize(
    "name",
    ["crash.txt", "overlay.png", "regions.geojson", "patches.csv", "thumbnail.jpg"],
)
def test_a_file_that_is_a_link_is_replaced(out: Path, name: str) -> None:
    folder = out / "slides" / "a"
    folder.mkdir(parents=True)
    for place in (name, f"{name}.part"):
        (folder / place).symlink_to(out.parent / "mine" / "file")
    assert run(out) == 0
    assert nothing_was_touched(out)
    assert not (folder / name).is_symlink()


def test_a_status_that_is_a_link_is_told(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "slides" / "a").mkdir(parents=True)
    (out / "slides" / "a" / "status.json").symlink_to(out.parent / "mine" / "file")
    assert run(out) == 1
    assert "status.json cannot be read (a link" in capsys.readouterr().err
    assert nothing_was_touched(out)


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_lock_that_is_another_name_of_a_file_is_not_written_to(
    out: Path, make: Callable[[Path, Path], None]
) -> None:
    lock = out / ".locks" / "reviews" / "a"
    lock.parent.mkdir(parents=True)
    make(lock, out.parent / "mine" / "file")
    with pytest.raises(StorageError), review_lock(out / "slides" / "a"):
        raise AssertionError("the lock was taken")
    assert nothing_was_touched(out)
