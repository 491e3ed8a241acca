"""Annotation files made to take the memory: a sentence, and little of it."""

import gzip
import zipfile
from pathlib import Path

import pytest

from tests.hostile import measured
from wsi_pipeline.annotations.reading import read_annotations
from wsi_pipeline.errors import StorageError

IMPORT = "from pathlib import Path\nfrom wsi_pipeline.annotations.reading import read_annotations"
READ = "read_annotations(Path(sys.argv[1]))"


def coordinates(n: int) -> bytes:
    return b'{"type":"Polygon","coordinates":[[' + b"[1,2]," * n + b"[1,2]]]}"


def test_three_megabytes_that_unpack_to_gigabytes_cost_little(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(200):
            file.write(b"[1,2]," * 500_000)
    assert path.stat().st_size < 3 * 2**20
    words, megabytes = measured(IMPORT, READ, path)
    assert "more than 128 MB unpacked" in words
    assert megabytes < 400


def test_a_document_of_too_many_values_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(coordinates(4_100_000), 1))
    words, megabytes = measured(IMPORT, READ, path)
    assert "more than 8 million values" in words
    assert megabytes < 200


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000])
def test_a_document_that_is_nested_too_deep_is_a_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.geojson").write_bytes(data)
    with pytest.raises(StorageError, match="damaged"):
        read_annotations(tmp_path / "a.geojson")


def test_an_archive_in_an_archive_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr("a.json", "{}")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as outer:
        outer.write(tmp_path / "inner.zip", "a.json")
    with pytest.raises(StorageError, match="damaged"):
        read_annotations(tmp_path / "a.zip")


def test_an_xml_of_entities_is_refused(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><Annotations>&l11;</Annotations>'
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(StorageError):
        read_annotations(tmp_path / "a.xml")
