"""Archives of phantoms, and somebody who watches the runs over them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PhantomFactory
from wsi_pipeline.archive import RunOutcome, make_jobs, run_slides
from wsi_pipeline.config import Config, load_config
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.inputs import find_slides
from wsi_pipeline.pipeline.resolved import SlideJob, resolve_run
from wsi_pipeline.results.status import AnyStatus

MODEL = Path(__file__).parents[1] / "models" / "darkness"


class Diary:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.run_id = ""
        self.where = ""
        self.started: list[str] = []
        self.finished: dict[str, str] = {}
        self.skipped: list[str] = []
        self.waited_for: dict[str, str] = {}
        self.on_progress: Callable[[SlideJob, int, int], None] | None = None

    def run_started(self, run_id: str, n_slides: int, where: str) -> None:
        self.run_id, self.where = run_id, where

    def slide_started(self, job: SlideJob) -> None:
        self.started.append(job.slide_id)

    def patches_done(self, job: SlideJob, done: int, n_patches: int) -> None:
        if self.on_progress:
            self.on_progress(job, done, n_patches)

    def slide_finished(self, job: SlideJob, status: AnyStatus | None, *, skipped: bool) -> None:
        self.finished[job.slide_id] = status.state if status else "unknown"
        if skipped:
            self.skipped.append(job.slide_id)

    def waiting_for(self, job: SlideJob, owner: str) -> None:
        self.waited_for[job.slide_id] = owner


class Archive:
    """A folder of small slides and the runs over it."""

    def __init__(self, folder: Path, phantom_factory: PhantomFactory) -> None:
        self.slides, self.out = folder / "slides", folder / "out"
        self._phantom = phantom_factory
        self.slides.mkdir()

    def add(self, *names: str, **changes: Any) -> None:
        for name in names:
            small = {"size_l0": Size(2048, 1536), "hot_box_l0": Box(400, 400, 400, 400)}
            phantom = self._phantom(f"slides/{name}.tif", **(small | changes))
            with phantom.path.open("ab") as file:  # equal pixels, but no duplicates
                file.write(name.encode())

    def add_copy(self, name: str, of: str) -> None:
        shutil.copy(self.slides / f"{of}.tif", self.slides / f"{name}.tif")

    def add_garbage(self, name: str, content: bytes = b"no slide at all") -> None:
        (self.slides / f"{name}.tif").write_bytes(content)

    def config(self, **changes: Any) -> Config:
        execution = {"isolation": "threads", "workers": 1, **changes.pop("execution", {})}
        standard = {"model": str(MODEL), "outputs": "map", "execution": execution}
        return load_config(None, standard | changes)

    def jobs(self, config: Config) -> list[SlideJob]:
        return make_jobs(find_slides([self.slides]), config)

    def run(self, diary: Diary | None = None, **changes: Any) -> RunOutcome:
        options = {k: changes.pop(k) for k in ("overwrite", "retry_failed") if k in changes}
        config = self.config(**changes)
        return run_slides(
            self.jobs(config), resolve_run(config, self.out), diary or Diary(), **options
        )

    def status(self, slide_id: str) -> dict[str, Any]:
        return dict(json.loads((self.out / "slides" / slide_id / "status.json").read_text()))

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "run.json").read_text()))

    def map_bytes(self, out: Path | None = None) -> dict[str, bytes]:
        """Return every file of every map, by its path."""
        root = (out or self.out) / "slides"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.glob("*/probability.zarr/**/*"))
            if path.is_file()
        }


@pytest.fixture
def archive(tmp_path: Path, phantom_factory: PhantomFactory) -> Archive:
    return Archive(tmp_path, phantom_factory)


@pytest.fixture
def diary() -> Diary:
    return Diary()
