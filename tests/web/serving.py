"""What the tests of the application share: a run to serve, a rule for a model, a client to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from tests.phantoms import Phantom, write_phantom
from tests.rule_classifier import RuleClassifier, darkness
from wsi_pipeline.classifier import ModelCard
from wsi_pipeline.export.geojson import write_geojson
from wsi_pipeline.files import write_json
from wsi_pipeline.geometry import Box, Mpp, Size
from wsi_pipeline.maps import ProbabilityMap, write_map
from wsi_pipeline.maps.regions import find_regions
from wsi_pipeline.results.layout import STATUS_NAME, THUMBNAIL_NAME
from wsi_pipeline.slides.identity import fingerprint

T = TypeVar("T")
THRESHOLD = 0.5


class DarknessClassifier(RuleClassifier):
    """Takes a dark patch for IDC: the probability is 1 at black and 0 at white."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card, darkness, "rule")


class Client:
    """Asks an application without a network, as a program on this machine would."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1:8000") -> None:
        self.app, self._base = app, f"http://{host}"

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._base) as client:
                return await client.request(method, path, **options)

        return in_own_loop(once())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("PUT", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)


@dataclass(frozen=True)
class Run:
    """An output folder and what its slides were made from."""

    out: Path
    phantom: Phantom
    map_: ProbabilityMap


def in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread: this one may have a loop, that of the browser's tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def bind_again(folder: Path) -> None:
    """Let a slide's record tell of what its file holds now, as if that had been run."""
    record = json.loads((folder / STATUS_NAME).read_text())
    slide = Path(record["slide"])
    record |= {"fingerprint": fingerprint(slide), "file": {"bytes": slide.stat().st_size}}
    write_json(folder / STATUS_NAME, record)


def make_run(tmp_path: Path) -> Run:
    """Make a run of four slides: one whole, one whose file is gone, one failed, one empty.

    The slide has 4096 x 3072 px at 1 µm/px; cells of 400 px, IDC at its hot box.
    """
    (tmp_path / "files").mkdir()
    phantom = write_phantom(
        tmp_path / "files" / "case 1.tif",
        size_l0=Size(4096, 3072),
        hot_box_l0=Box(1600, 800, 800, 800),
        mpp=1.0,
    )
    map_ = _map(phantom)
    out = tmp_path / "out"
    _write_done(out / "slides" / "case 1", phantom.path, phantom.path, map_)
    _write_done(out / "slides" / "gone", tmp_path / "files" / "gone.tif", phantom.path, map_)
    failed = {"state": "failed", "slide": "bad.svs", "error": "no mpp", "advice": "Give --mpp"}
    _write_status(out / "slides" / "failed", failed)
    _write_status(out / "slides" / "empty", {"state": "empty", "slide": "white.svs"})
    model = {"name": "darkness", "threshold": THRESHOLD}
    record = {"state": "finished", "wsi_pipeline": "0.1.0", "model": model, "config": {}}
    record["slides"] = [str(phantom.path)]
    (out / "run.json").write_text(json.dumps(record))
    return Run(out, phantom, map_)


def _map(phantom: Phantom) -> ProbabilityMap:
    values = np.full((8, 11), 0.0625, np.float32)
    values[:, 0] = np.nan
    values[2:4, 4:6] = 0.9375
    values[6, 8] = 0.375
    attributes = {
        "version": "0.1.0",
        "slide": {"name": phantom.path.name, "bytes": 1, "quickhash": "ab"},
        "bounds_l0": [0, 0, phantom.size_l0.width, phantom.size_l0.height],
        "model": {"name": "darkness", "sha256": "0" * 64, "mpp": 8.0},
        "threshold": THRESHOLD,
    }
    tissue = np.ones_like(values)
    return ProbabilityMap(values, tissue, (0, 0), (400.0, 400.0), Mpp(1.0, 1.0), attributes)


def _write_done(folder: Path, slide: Path, slide_file: Path, map_: ProbabilityMap) -> None:
    """Write the results of a slide that is called `slide` and has the content of a file."""
    folder.mkdir(parents=True)
    named = {**map_.attributes, "slide": {**map_.attributes["slide"], "name": slide.name}}
    map_ = replace(map_, attributes=named)
    write_map(map_, folder / "probability.zarr")
    write_geojson(
        map_,
        find_regions(map_, threshold=THRESHOLD, low_threshold=0.4),
        folder / "regions.geojson",
    )
    thumbnail = np.full((192, 256, 3), 230, np.uint8)
    thumbnail[50:100, 100:150] = (96, 52, 128)
    Image.fromarray(thumbnail).save(folder / THUMBNAIL_NAME)
    Image.fromarray(thumbnail).save(folder / "overlay.png")
    totals = {"idc_mm2": 0.64, "tissue_mm2": 12.5, "idc_share": 0.05, "n_regions": 1}
    totals["n_classified"] = 80
    status = {
        "state": "done",
        "slide": str(slide),
        "fingerprint": fingerprint(slide_file),
        "file": {"bytes": slide_file.stat().st_size},
        "mpp": [1.0, 1.0],
        "mpp_source": "tiff.XResolution",
        "totals": {**totals, "max_probability": 0.9375},
        "patches": 80,
    }
    write_json(folder / STATUS_NAME, status)


def _write_status(folder: Path, status: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    write_json(folder / STATUS_NAME, status)
