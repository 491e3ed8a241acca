#!/usr/bin/env python3
"""Measure the review application: tile latency, and many viewers for a minute and another.

    bench_server.py OUT [--slide ID] [--viewers 100] [--seconds 60]
    bench_server.py OUT --opening 1 100 10000

OUT is the output folder of a run. The server is a process of its own on a free port of this
machine; this program shares the cores with it, which the figures include. Cold: every tile is
asked for the first time, a number of them in flight. Warm: the same tiles again, one at a time.
The viewers look around twice for so many seconds: what memory grows by in the first is caches that
fill up to their limits, in the second it would be a leak. Growth: from the median of the first
quarter of that time to the median of the last.

With --opening: how long a browser (chromium) waits for slides that the server has never shown, in
archives of so many slides. They are made of the slide's folder by hard links beside OUT and go when
the measurement ends. First tile: from asking for the page to the first tile that has come; usable:
until the map, the regions and the review are there too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

IN_FLIGHT = 20
COLD_TILES = 600
PAUSE_SECONDS = (0.5, 1.5)  # between two looks of a viewer
TILES_A_LOOK = 6
SLIDES_OPENED = 6  # with --opening, in each archive


@dataclass
class Tally:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    n_bytes: int = 0

    @property
    def n_errors(self) -> int:
        return sum(self.errors.values())

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def words(self) -> str:
        return (
            f"{len(self.seconds)} answers, {self.n_errors} errors "
            f"{dict(self.errors) or ''}, "
            f"{self.n_bytes / 2**20:.0f} MB; median {self.percentile(0.5):.1f} ms, "
            f"95 % {self.percentile(0.95):.1f} ms, slowest {1000 * max(self.seconds):.0f} ms"
        )


@dataclass
class Server:
    """The server's process and its address."""

    process: subprocess.Popen[str]
    address: str

    @classmethod
    def start(cls, out: Path) -> Server:
        command = [sys.executable, "-m", "wsi_pipeline", "serve", str(out), "--port", "0"]
        command += ["--no-token"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"http://\S+?/", line)
            if found:
                return cls(process, found.group().rstrip("/"))
        raise SystemExit("the server did not start")

    def memory_mb(self) -> float:
        """Resident memory; NaN where the system does not tell (no /proc)."""
        path = Path(f"/proc/{self.process.pid}/statm")
        return int(path.read_text().split()[1]) * 4096 / 2**20 if path.exists() else float("nan")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


async def fetch(client: httpx.AsyncClient, path: str, tally: Tally) -> None:
    start = time.perf_counter()
    try:
        answer = await client.get(path)
        tally.n_bytes += len(answer.content)
        if answer.status_code != 200:
            tally.errors[f"status {answer.status_code}"] += 1
    except httpx.HTTPError as error:
        tally.errors[type(error).__name__] += 1
    tally.seconds.append(time.perf_counter() - start)


def tile_paths(slide: dict[str, Any]) -> list[str]:
    """Every tile of the zoom levels that a viewer shows."""
    image, base = slide["image"], f"/api/slides/{slide['slide_id']}/tiles"
    paths = []
    for level in range(min(8, image["max_level"]), image["max_level"] + 1):
        factor = 2 ** (image["max_level"] - level) * image["tile_px"]
        cols, rows = -(-image["width"] // factor), -(-image["height"] // factor)
        paths += [f"{base}/{level}/{c}_{r}.jpg" for c in range(cols) for r in range(rows)]
    return paths


async def cold(client: httpx.AsyncClient, paths: list[str]) -> Tally:
    tally, waiting = Tally(), list(paths)

    async def worker() -> None:
        while waiting:
            await fetch(client, waiting.pop(), tally)

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return tally


async def warm(client: httpx.AsyncClient, paths: list[str]) -> Tally:
    tally = Tally()
    for path in paths:
        await fetch(client, path, tally)
    return tally


async def viewers(
    server: Server, slides: list[dict[str, Any]], n_viewers: int, seconds: float
) -> tuple[Tally, list[float]]:
    """Let viewers look around; return what they got and the server's memory over the time."""
    tally, memory, end = Tally(), [], time.monotonic() + seconds
    limits = httpx.Limits(max_connections=n_viewers)

    async def look_around(client: httpx.AsyncClient, seed: int) -> None:
        chance = random.Random(seed)
        slide = chance.choice(slides)
        paths = tile_paths(slide)
        base = f"/api/slides/{slide['slide_id']}"
        await asyncio.sleep(chance.uniform(0, 2))
        for path in (base, f"{base}/layers/probability", f"{base}/regions", f"{base}/review"):
            await fetch(client, path, tally)
        while time.monotonic() < end:
            first = chance.randrange(len(paths))
            for path in paths[first : first + TILES_A_LOOK]:
                await fetch(client, path, tally)
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))

    async def watch() -> None:
        while time.monotonic() < end:
            memory.append(server.memory_mb())
            await asyncio.sleep(seconds / 20)

    async with httpx.AsyncClient(base_url=server.address, timeout=30, limits=limits) as client:
        await asyncio.gather(watch(), *(look_around(client, n) for n in range(n_viewers)))
    return tally, memory


async def measure(server: Server, slide_id: str | None, n_viewers: int, seconds: float) -> int:
    async with httpx.AsyncClient(base_url=server.address, timeout=30) as client:
        rows = (await client.get("/api/archive")).json()["slides"]
        details = [(await client.get(f"/api/slides/{row['slide_id']}")).json() for row in rows]
        slides = [d for d in details if d["image"]["source"] == "slide" and d["map"]]
        if not slides:
            raise SystemExit("no slide of this run has its file and a map")
        one = next((s for s in slides if s["slide_id"] == slide_id), None) or max(
            slides, key=lambda s: s["image"]["width"] * s["image"]["height"]
        )
        paths = tile_paths(one)
        random.Random(0).shuffle(paths)
        paths = paths[:COLD_TILES]
        print(f"slide {one['slide_id']}, {one['image']['width']} x {one['image']['height']} px")
        first = await cold(client, paths)
        print(f"cold, {IN_FLIGHT} in flight: {first.words()}")
        again = await warm(client, paths)
        print(f"warm, one at a time: {again.words()}")
    figures: dict[str, float] = {
        "warm_median_ms": round(again.percentile(0.5), 2),
        "cold_p95_ms": round(first.percentile(0.95), 1),
    }
    n_errors = first.n_errors + again.n_errors
    for name in ("first", "second"):
        tally, memory = await viewers(server, slides, n_viewers, seconds)
        print(f"{n_viewers} viewers, {seconds:g} s, {name} time: {tally.words()}")
        print(f"server's memory, MB: {', '.join(f'{m:.0f}' for m in memory)}")
        n_errors += tally.n_errors
        figures |= {
            f"{name}_memory_mb": round(memory[-1], 1),
            f"{name}_growth_mb": round(growth(memory), 1),
        }
    print(json.dumps(figures | {"errors": n_errors}))
    return int(n_errors > 0)


@contextmanager
def archive_of(folder: Path, n_slides: int) -> Iterator[Path]:
    """Make an output folder of many slides out of one, by hard links; it goes afterwards."""
    source = folder.parent.parent
    out = Path(tempfile.mkdtemp(prefix="bench-", dir=source.parent))
    try:
        shutil.copy(source / "run.json", out / "run.json")
        for n in range(n_slides):
            shutil.copytree(folder, out / "slides" / f"slide-{n:05d}", copy_function=os.link)
        yield out
    finally:
        shutil.rmtree(out)


def open_pages(address: str, slide_ids: list[str]) -> dict[str, float]:
    """Open the archive page and some slides in a browser; return seconds."""
    from playwright.sync_api import sync_playwright

    def seconds(page: Any, path: str, sign: str) -> tuple[float, float]:
        tiles: list[float] = []
        page.on("requestfinished", lambda r: tiles.extend([clock()] if "/tiles/" in r.url else []))
        start = clock()
        page.goto(f"{address}{path}")
        page.wait_for_selector(sign)
        usable = clock() - start
        return (tiles[0] - start if tiles else float("nan")), usable

    clock = time.perf_counter
    with sync_playwright() as tool:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        options = ["--no-sandbox", "--disable-gpu"]
        browser = tool.chromium.launch(executable_path=chromium, args=options)
        browser.new_page().goto("about:blank")  # the browser's own start does not count
        slides = []
        for slide_id in slide_ids:
            page = browser.new_context().new_page()  # with an empty cache
            slides.append(seconds(page, f"/slides/{slide_id}", "body[data-ready]"))
            page.close()
        _, archive = seconds(browser.new_context().new_page(), "/", ".card")
        browser.close()
    tiles, usable = zip(*slides, strict=True)
    return {
        "first_slide_tile_s": tiles[0],
        "first_slide_usable_s": usable[0],
        "next_slides_tile_s": statistics.median(tiles[1:] or tiles),
        "next_slides_usable_s": statistics.median(usable[1:] or usable),
        "archive_page_s": archive,
    }


def measure_opening(out: Path, slide_id: str | None, counts: list[int]) -> int:
    """Print what a browser waits for in archives of these sizes."""
    folders = sorted(path for path in (out / "slides").iterdir() if path.is_dir())
    folder = next((path for path in folders if path.name == slide_id), folders[0])
    for n_slides in counts:
        with archive_of(folder, n_slides) as archive:
            server = Server.start(archive)
            try:
                some = random.Random(0).sample(range(n_slides), min(SLIDES_OPENED, n_slides))
                figures = open_pages(server.address, [f"slide-{n:05d}" for n in some])
                memory = server.memory_mb()
            finally:
                server.stop()
        words = {name: round(value, 2) for name, value in figures.items()}
        print(json.dumps({"slides": n_slides, **words, "server_memory_mb": round(memory)}))
    return 0


def growth(memory: list[float]) -> float:
    """From the median of the first quarter to that of the last, MB."""
    quarter = max(1, len(memory) // 4)
    return statistics.median(memory[-quarter:]) - statistics.median(memory[:quarter])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="output folder of a run")
    parser.add_argument("--slide", help="of the tile latency; default: the largest")
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--opening", type=int, nargs="+", metavar="SLIDES", help="see above")
    options = parser.parse_args()
    if options.opening:
        return measure_opening(options.out, options.slide, options.opening)
    server = Server.start(options.out)
    try:
        return asyncio.run(measure(server, options.slide, options.viewers, options.seconds))
    finally:
        server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
