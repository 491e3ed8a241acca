"""A situation of a real user: its files, the commands that it gives, what these say.

Each test of this folder is one situation, its docstring the situation in words and its marker the
row of the list that it comes from ("52"; "4+" for one of the same kind that nobody has listed).
``python -m tests.cases.table`` prints them all with what the program says now.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from tests.conftest import PhantomFactory
from tests.phantoms import TISSUE
from wsi_pipeline.cli.main import main
from wsi_pipeline.geometry import Box, Size

MODEL = Path(__file__).parents[1] / "models" / "darkness"
SLIDE = {"size_l0": Size(2000, 2000), "hot_box_l0": Box(400, 400, 800, 800), "mpp": 4.0}
"""5 x 5 patches of 400 µm by 20 x 20: 8 x 8 mm, of which 3.2 x 3.2 mm are dark, called IDC."""
ONE_PROCESS = "execution: {isolation: threads, workers: 1}\n"
"""A process a slide, as a run of many has by default, takes seconds to start."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    status: int
    text: str
    """All that stood on the terminal."""

    def __contains__(self, words: str) -> bool:
        return words in self.text


@dataclass(slots=True)
class Case:
    """A user's folder and terminal."""

    SQUARE_MM2: ClassVar = 14.1376
    """Of the square that `outlines` draws: 940 px of 4 µm."""
    TISSUE_L0: ClassVar = Box(400, 400, 1200, 1200)
    """Around that square."""
    folder: Path
    make_slide: PhantomFactory
    read_terminal: Callable[[], str]
    finished: Path
    """What `done_slide` has left the first time, for the next."""
    steps: list[tuple[str, int, str]] = field(default_factory=list)
    """Each command line, its exit status and what it said, plain: reports carry them."""

    def slide(self, name: str = "s.tif", **changes: Any) -> Path:
        """Write a small slide, see `SLIDE`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.make_slide(name, **(SLIDE | changes))
        return path

    def done_slide(self) -> None:
        """Write ``s.tif`` and its results in ``out``, the map alone."""
        if self.finished.exists():
            shutil.copytree(self.finished, self.folder, dirs_exist_ok=True)
            return
        self.slide("s.tif")
        assert self.run("s.tif").status == 0
        shutil.copytree(self.folder, self.finished)

    def write(self, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    def outlines(self, name: str, *more: Any, side: float = 940, **changes: Any) -> Path:
        """Write a square with its corner at (500, 500), as QuPath does, and more features."""
        x, y = changes.pop("x", 500), changes.pop("y", 500)
        ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
        properties = {"objectType": "annotation", "classification": {"name": "Tumor"}, **changes}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        drawn = {"type": "Feature", "geometry": geometry, "properties": properties}
        document = {"type": "FeatureCollection", "features": [drawn, *more]}
        return self.write(name, json.dumps(document))

    def patch(self, name: str) -> Path:
        """Write a picture of one patch, all tissue."""
        path = self.write(name, b"")
        Image.new("RGB", (50, 50), TISSUE).save(path)
        return path

    def compared(self, out: str = "out", slide_id: str = "") -> dict[str, float]:
        """Return the figures of a row of compare.csv, the first unless an id is given."""
        with (self.folder / out / "compare/compare.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        row = next(row for row in rows if not slide_id or row["slide_id"] == slide_id)
        return {"reference_mm2": float(row["reference_mm2"]), "dice": float(row["dice"])}

    def wsi(self, line: str) -> Said:
        """Call ``wsi-pipeline`` in the folder with these words, split as a shell does."""
        words = shlex.split(line)
        if words[0] in {"run", "scan", "classify"}:
            self.write("one_process.yaml", ONE_PROCESS)
            words += ["--model", str(MODEL)]
            takes_config = words[0] != "classify" and "-c" not in words
            words += ["-c", "one_process.yaml"] if takes_config else []
        try:
            status = main(words)
        except SystemExit as exit_:  # argparse
            status = int(exit_.code or 0)
        said = Said(status, self.read_terminal())
        self.steps.append((_utf8(line), said.status, _utf8(said.text)))
        return said

    def run(self, inputs: str = ".", options: str = "") -> Said:
        """``run`` into the folder ``out``, the map alone."""
        return self.wsi(f"run {inputs} -o out --outputs map {options}")

    def summary(self, out: str = "out") -> dict[str, dict[str, str]]:
        """Return the rows of summary.csv by their id."""
        path = self.folder / out / "summary.csv"
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return {row["slide_id"]: row for row in csv.DictReader(handle)}

    def states(self, out: str = "out") -> dict[str, str]:
        """Return how each slide ended, by its id."""
        return {slide_id: row["state"] for slide_id, row in self.summary(out).items()}

    def status(self, slide_id: str, out: str = "out") -> dict[str, Any]:
        """Return what stands in status.json of a slide."""
        path = self.folder / out / "slides" / slide_id / "status.json"
        return dict(json.loads(path.read_bytes()))


@pytest.fixture
def case(
    tmp_path: Path,
    phantom_factory: PhantomFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    """Return an empty folder, which is the working directory too."""

    def read_terminal() -> str:
        said = capsys.readouterr()
        return said.out + said.err

    monkeypatch.chdir(tmp_path)
    finished = tmp_path_factory.getbasetemp() / "finished"
    here = Case(tmp_path, phantom_factory, read_terminal, finished)
    request.node.user_properties.append(("steps", here.steps))
    request.node.user_properties.append(("folder", os.fspath(tmp_path)))
    return here


def _utf8(text: str) -> str:
    """Return a text that a report can carry: names on disk need not be UTF-8."""
    return text.encode(errors="backslashreplace").decode()
