import base64
import hashlib
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from wsi_pipeline.web import vendor
from wsi_pipeline.web.vendor import VendorError

FILES = {
    "package/build/openseadragon/openseadragon.min.js": b"viewer",
    "package/LICENSE.txt": b"BSD",
    "package/package.json": b"{}",
    "../outside.txt": b"must not be written",
}


def archive(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    return buffer.getvalue()


def serve(monkeypatch: pytest.MonkeyPatch, data: bytes, *, pinned: bool = True) -> None:
    """Stand in for the registry with an npm that leaves `data`."""
    script = "import sys; open('openseadragon.tgz', 'wb').write(bytes.fromhex(sys.argv[1]))"
    command = [sys.executable, "-c", script, data.hex()]
    monkeypatch.setattr(vendor, "npm_command", lambda: command)
    if pinned:
        digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
        monkeypatch.setattr(vendor, "INTEGRITY", f"sha512-{digest}")


def test_the_viewer_and_its_license_are_brought_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, archive(FILES))
    folder = tmp_path / "vendor" / "openseadragon"
    vendor.install(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "openseadragon.min.js": b"viewer",
        "LICENSE.txt": b"BSD",
        "VERSION": vendor.PACKAGE.encode(),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["vendor"]
    assert vendor.is_installed(folder)


def test_another_file_than_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, archive(FILES), pinned=False)
    with pytest.raises(VendorError, match="not the pinned file"):
        vendor.install(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_a_package_without_the_viewer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, archive({"package/package.json": b"{}"}))
    with pytest.raises(VendorError, match="holds no"):
        vendor.install(tmp_path / "vendor")
    assert not vendor.is_installed(tmp_path / "vendor")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no network')"], "no network"),
        (["/nowhere/npm"], "did not finish"),
        ([sys.executable, "-c", "pass"], "could not fetch"),
    ],
    ids=["npm fails", "npm cannot start", "npm leaves nothing"],
)
def test_without_a_network_it_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], words: str
) -> None:
    monkeypatch.setattr(vendor, "npm_command", lambda: command)
    with pytest.raises(VendorError, match=words):
        vendor.install(tmp_path / "vendor")


def test_what_is_here_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openseadragon.min.js", "LICENSE.txt"):
        (tmp_path / name).touch()
    (tmp_path / "VERSION").write_text(vendor.PACKAGE)
    monkeypatch.setattr(vendor, "npm_command", lambda: ["/nowhere/npm"])
    vendor.install(tmp_path)


def test_a_build_goes_on_without_the_viewer(tmp_path: Path) -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    code = (
        f"import sys; sys.path.insert(0, {str(scripts)!r})\n"
        "import build_with_viewer as hook\n"
        "from pathlib import Path\n"
        "module = hook._vendor()\n"
        "module.npm_command = lambda: ['/nowhere/npm']\n"
        f"module.install.__defaults__ = (Path({str(tmp_path / 'v')!r}),)\n"
        "hook._vendor = lambda: module\n"
        "hook._bring_viewer()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "built without the slide viewer" in done.stderr
    assert "wsi_pipeline.web.vendor" in done.stderr
