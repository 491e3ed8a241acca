"""What a run leaves beside its slides: run.json, summary.csv, index.html."""

from __future__ import annotations

import csv
import datetime
import io
import json
import platform
import subprocess
import uuid
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import wsi_pipeline
from wsi_pipeline.archive.gallery import gallery_html
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.config import Config
from wsi_pipeline.outputs import NOTICE, read_status
from wsi_pipeline.probability.files import write_atomic

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
COLUMNS: Final = (
    "slide_id",
    "state",
    "slide",
    "tissue_mm2",
    "idc_mm2",
    "idc_share",
    "regions",
    "mean_probability",
    "max_probability",
    "patches",
    "patches_lost",
    "mpp_x",
    "mpp_y",
    "mpp_source",
    "seconds",
    "stage",
    "error",
    "advice",
)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of one run: written as running, replaced at the end."""

    path: Path
    facts: dict[str, Any]

    @classmethod
    def start(cls, out: Path, config: Config, card: ModelCard, slides: list[Path]) -> RunRecord:
        """Write the record of a run that begins."""
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
        record = cls(out / "run.json", facts)
        record._write(facts)
        return record

    def finish(self, state: str, statuses: dict[str, dict[str, Any]]) -> None:
        """Replace the record with how the run ended."""
        devices = {str(s["device"]) for s in statuses.values() if s.get("device")}
        self._write(
            {
                **self.facts,
                "state": state,
                "finished": _now(),
                "device": sorted(devices),
                "outcomes": {name: _outcome(status) for name, status in statuses.items()},
            }
        )

    def _write(self, facts: dict[str, Any]) -> None:
        write_atomic(self.path, json.dumps(facts, indent=2, ensure_ascii=False).encode())


def slide_row(slide_id: str, status: dict[str, Any]) -> dict[str, Any]:
    """Return a slide's row of the summary; what is not known is empty, not zero."""
    totals = status.get("totals") or {}
    mpp = status.get("mpp") or (None, None)
    seconds = status.get("seconds") or {}
    mask = status.get("tissue_mask") or {}
    row = {
        **{name: status.get(name) for name in COLUMNS},
        **{name: totals.get(name) for name in ("idc_mm2", "idc_share")},
        **{name: totals.get(name) for name in ("mean_probability", "max_probability")},
        "slide_id": slide_id,
        "state": status.get("state", "unknown"),
        "tissue_mm2": totals.get("tissue_mm2", mask.get("area_mm2")),
        "regions": totals.get("n_regions"),
        "mpp_x": mpp[0],
        "mpp_y": mpp[1],
        "seconds": round(sum(seconds.values()), 3) if seconds else None,
    }
    if row["state"] == "empty":
        row["idc_mm2"], row["regions"] = 0.0, 0
    return row


def write_summary(out: Path) -> None:
    """Write summary.csv and index.html of every slide in the output folder."""
    folders = sorted(path for path in (out / "slides").iterdir() if path.is_dir())
    rows = [slide_row(folder.name, read_status(folder)) for folder in folders]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    write_atomic(out / "summary.csv", text.getvalue().encode())
    write_atomic(out / "index.html", gallery_html(rows).encode())


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


def _outcome(status: dict[str, Any]) -> dict[str, Any]:
    names = ("slide", "state", "stage", "error", "advice", "patches", "patches_lost", "seconds")
    return {name: status[name] for name in names if name in status}


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
