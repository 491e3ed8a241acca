"""The record of a run: runs/RUN_ID.json, and run.json for the run that began last.

Runs that share an output folder each have a file of their own, so that none overwrites another's.
"""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypedDict

import wsi_pipeline
from wsi_pipeline import NOTICE
from wsi_pipeline.archive.meters import QueueFigures
from wsi_pipeline.execution.locks import shared_files
from wsi_pipeline.files import make_folder, write_json
from wsi_pipeline.pipeline.resolved import ResolvedRun
from wsi_pipeline.results.layout import RUN_RECORD_NAME, RUNS_NAME
from wsi_pipeline.results.status import AnyStatus, Done, Empty, Failed

LIBRARIES: Final = (
    "numpy",
    "scipy",
    "scikit-image",
    "openslide-python",
    "openslide-bin",
    "ai-edge-litert",
    "keras",
    "tensorflow",
    "zarr",
    "dask",
    "matplotlib",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of one run: written as running, replaced at the end."""

    out: Path
    facts: Mapping[str, object]

    @property
    def run_id(self) -> str:
        """Stands in every log line and status of the run."""
        return str(self.facts["run_id"])

    @classmethod
    def start(cls, run: ResolvedRun, slides: list[Path]) -> RunRecord:
        """Write the record of a run that begins."""
        config, card = run.config, run.card
        facts = {
            "run_id": uuid.uuid4().hex,
            "state": "running",
            "started": _now(),
            "wsi_pipeline": wsi_pipeline.__version__,
            "git": _git_commit(),
            "notice": NOTICE,
            "config": config.model_dump(),
            "config_sha256": config.map_sha256(card.sha256),
            "model": {
                "name": card.name,
                "folder": str(card.folder),
                "sha256": card.sha256,
                "spacing_um_px": card.spacing_um_px,
                "patch_size_px": card.patch_size_px,
                "threshold": card.threshold,
            },
            "python": platform.python_version(),
            "system": platform.platform(),
            "libraries": {name: _version(name) for name in LIBRARIES},
            "slides": [str(path) for path in slides],
        }
        record = cls(run.out, facts)
        record._write(facts, begins=True)
        return record

    def finish(
        self,
        state: str,
        statuses: Mapping[str, AnyStatus | None],
        metrics: Mapping[str, object],
    ) -> None:
        """Replace the record with how the run ended."""
        finished = [s for s in statuses.values() if isinstance(s, Done | Empty)]
        devices = {status.device for status in finished if status.device}
        facts = {
            **self.facts,
            "state": state,
            "finished": _now(),
            "device": sorted(devices),
            "metrics": metrics,
            "outcomes": {name: outcome_of(status) for name, status in statuses.items()},
        }
        self._write(facts, begins=False)

    def _write(self, facts: Mapping[str, object], *, begins: bool) -> None:
        folder = self.out / RUNS_NAME
        make_folder(folder, self.out)
        write_json(folder / f"{self.run_id}.json", facts)
        latest = self.out / RUN_RECORD_NAME
        with shared_files(self.out):
            if begins or _run_id_in(latest) in (self.run_id, None):
                write_json(latest, facts)


class SlideMetrics(TypedDict):
    """What the slides of a run came to."""

    slides: int
    slides_failed: int
    patches: int
    patches_lost: int
    slide_bytes: int
    bytes_read: int | None
    """None: nobody counted."""
    wall_seconds: float
    slides_per_hour: float
    patches_per_second: float
    stage_seconds: dict[str, float]


class RunMetrics(SlideMetrics):
    """The same with the run's queue."""

    queue: QueueFigures


def metrics(statuses: Sequence[AnyStatus | None], wall_seconds: float) -> SlideMetrics:
    """Return what the slides of this run came to: figures of the slides done now, not before."""
    done = [status for status in statuses if isinstance(status, Done | Empty)]
    stages: dict[str, float] = {}
    for status in statuses:
        for stage, seconds in status.seconds.items() if isinstance(status, _TIMED) else ():
            stages[stage] = round(stages.get(stage, 0.0) + seconds, 3)
    classified = [status for status in done if not status.duplicate_of]
    patches = sum(status.patches for status in classified)
    read = [status.bytes_read for status in done if status.bytes_read is not None]
    return {
        "slides": len(done),
        "slides_failed": sum(isinstance(status, Failed) for status in statuses),
        "patches": patches,
        "patches_lost": sum(status.patches_lost for status in done),
        "slide_bytes": sum(status.file.bytes or 0 for status in done),
        "bytes_read": sum(read) if read else None,
        "wall_seconds": round(wall_seconds, 3),
        "slides_per_hour": round(3600 * len(done) / max(wall_seconds, 1e-3), 1),
        "patches_per_second": round(patches / max(wall_seconds, 1e-3), 1),
        "stage_seconds": stages,
    }


_TIMED: Final = Done | Empty | Failed
_KEPT: Final = frozenset(
    {"slide", "state", "stage", "error", "advice", "seconds", "attempt"}
    | {"patches", "patches_lost", "device", "file", "bytes_read"}
)


def kept_of(status: AnyStatus | None) -> AnyStatus | None:
    """Return a status with what the record needs alone: all of it is 15 kB a slide, this 2 kB."""
    if status is None:
        return None
    names = (_KEPT | {"duplicate_of"}) & type(status).model_fields.keys()
    return type(status).model_construct(**{name: getattr(status, name) for name in names})


def outcome_of(status: AnyStatus | None) -> dict[str, object]:
    """Return the part of a slide's status that the record keeps, for whoever reads the file."""
    return status.model_dump(include=set(_KEPT)) if status else {}


def _run_id_in(path: Path) -> str | None:
    """Return the run that a record tells of, None where it cannot be read."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit this code runs from, "-dirty" where changed; None outside a checkout."""
    root = Path(wsi_pipeline.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
