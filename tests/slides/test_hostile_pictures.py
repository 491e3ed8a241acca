"""Pictures and slides that lie about themselves, or that another program would be started for."""

import ast
from pathlib import Path

import numpy as np
import pytest
import tifffile

import wsi_pipeline
from tests.hostile import EPS, ghostscript_that_tells, jpeg_of, many_scans, measured
from wsi_pipeline.errors import DatasetError, SlideOpenError
from wsi_pipeline.slides import open_slide
from wsi_pipeline.slides.codestreams import (
    StreamSize,
    jpeg2000_size,
    jpeg_has_few_scans,
    jpeg_size,
)

IMPORT = "from wsi_pipeline.slides import open_slide"


def test_a_strip_that_holds_a_larger_jpeg_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        strip = jpeg_of(256, 256, stated=(65_000, 65_000))
        tiff.write(
            iter([strip]),
            shape=(256, 256, 3),
            dtype=np.uint8,
            compression="jpeg",
            photometric="rgb",
        )
    words, megabytes = measured(IMPORT, "open_slide(sys.argv[1])", path)
    assert "JPEG of 65000 x 65000 px" in words
    assert megabytes < 50


def test_a_tile_that_holds_a_larger_jpeg_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tile = jpeg_of(256, 256, stated=(65_000, 65_000))
        tiff.write(
            iter([tile]),
            shape=(256, 256, 3),
            tile=(256, 256),
            dtype=np.uint8,
            compression="jpeg",
            photometric="rgb",
        )
    read = "open_slide(sys.argv[1]).read_level(0, Box(0, 0, 64, 64))"
    words, megabytes = measured(f"{IMPORT}\nfrom wsi_pipeline.geometry import Box", read, path)
    assert "done" not in words
    assert megabytes < 100


def test_a_jpeg_of_hundreds_of_scans_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(many_scans())
    with pytest.raises(SlideOpenError, match="more than 64 scans"):
        open_slide(tmp_path / "a.jpg")
    assert jpeg_has_few_scans(jpeg_of(64, 64))


@pytest.mark.parametrize("name", ["a.ndpi", "a.png", "a.jpg", "a.tif", "a"])
def test_postscript_by_another_name_starts_no_program(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = ghostscript_that_tells(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(SlideOpenError):
        open_slide(tmp_path / name)
    assert not mark.exists()


def test_classify_starts_no_program_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wsi_pipeline.classifier import DEFAULT_MODEL, find_model
    from wsi_pipeline.pipeline.pictures import read_picture

    mark = ghostscript_that_tells(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "a.png").write_bytes(EPS)
    with pytest.raises(DatasetError):
        read_picture(tmp_path / "a.png", None, find_model(DEFAULT_MODEL))
    assert not mark.exists()


def test_pillow_is_nowhere_asked_to_try_all_of_its_formats() -> None:
    package = Path(wsi_pipeline.__file__).parent
    calls = [
        (path.name, node.lineno, {keyword.arg for keyword in node.keywords})
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open"
    ]
    assert len(calls) > 5
    assert [call for call in calls if "formats" not in call[2]] == []


def test_the_size_in_a_stream_is_read_as_it_stands() -> None:
    import imagecodecs

    assert jpeg_size(jpeg_of(40, 30)) == StreamSize(40, 30)
    assert jpeg_size(jpeg_of(40, 30, stated=(9, 8))) == StreamSize(9, 8)
    picture = np.zeros((30, 40, 3), np.uint8)
    for form in ("j2k", "jp2"):
        stream = imagecodecs.jpeg2k_encode(picture, codecformat=form)
        assert jpeg2000_size(bytes(stream)) == StreamSize(40, 30)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda\0\0", b"\xff\xd8\xff\xc0", b"x"]
)
def test_a_stream_without_a_size_has_none(data: bytes) -> None:
    assert jpeg_size(data) is None
    assert jpeg2000_size(data) is None
