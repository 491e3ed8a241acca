#!/usr/bin/env python3
"""Attack the review server while one honest reviewer works, and measure what the reviewer notices.

    bench_soak.py OUT [--clients 200] [--seconds 120] [--slide ID]

OUT is the output folder of a run whose slides are there; reviews are written into it: give a copy.
The server is a process of its own; the attackers are another, with the token, so that they reach
everything: tiles, saves, outlines that nobody drew, pictures that lie about their size, bodies and
headers that never come, wrong tokens. The honest reviewer, in this process, is signed in as a
browser is, looks at tiles and saves once a second. At the end the server gets SIGTERM while all
that goes on.

Exit status 1 where an answer to the reviewer took longer than 2 s or was an error, the server grew
beyond the bound, or did not end within 5 s. All of them share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import secrets
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

LONGEST_SECONDS = 2.0
END_SECONDS = 5.0
LARGEST_GROWTH_MB = 1500.0
REVIEWER = "The honest reviewer"
KINDS = {
    "tiles": 0.35,
    "saves": 0.10,
    "hostile outlines": 0.15,
    "bombs": 0.08,
    "stalled bodies": 0.14,
    "stalled headers": 0.10,
    "wrong tokens": 0.08,
}
"""Shares of the clients."""


@dataclass
class Notes:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def words(self) -> str:
        ordered = sorted(self.seconds) or [float("nan")]
        middle, late = ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))]
        return (
            f"{len(self.seconds)} answers {dict(self.statuses)}; median {1000 * middle:.0f} ms, "
            f"99 % {1000 * late:.0f} ms, slowest {1000 * ordered[-1]:.0f} ms"
        )


def tile_bomb() -> bytes:
    """A TIFF of 256 x 256 px with one tile of 16,384 x 21,840 px."""
    numbers = {256: 256, 257: 256, 258: 8, 259: 1, 262: 2, 277: 3, 322: 16_384, 323: 21_840}
    tags = numbers | {324: 8, 325: 16}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + struct.pack("<I", 0)


def outline(chance: random.Random, corners: int = 1000) -> list[list[float]]:
    return [[chance.uniform(0, 4000), chance.uniform(0, 4000)] for _ in range(corners)]


class Attackers:
    """Many clients in one process."""

    def __init__(self, address: str, token: str, slide: dict[str, Any], paths: list[str]) -> None:
        self.address, self.slide, self.paths = address, slide, paths
        self.bearer = {"authorization": f"Bearer {token}"}
        self.notes: Counter[str] = Counter()
        self.host, port = address.removeprefix("http://").split(":")
        self.port = int(port)

    async def run(self, n_clients: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        limits = httpx.Limits(max_connections=n_clients)
        async with httpx.AsyncClient(
            base_url=self.address, timeout=60, limits=limits, headers=self.bearer
        ) as client:
            await asyncio.gather(
                *(
                    self.go_on(kind, client, end, number)
                    for kind, share in KINDS.items()
                    for number in range(round(share * n_clients))
                )
            )

    async def go_on(self, kind: str, client: httpx.AsyncClient, end: float, number: int) -> None:
        chance = random.Random(f"{kind} {number}")
        attack = getattr(self, kind.replace(" ", "_"))
        await asyncio.sleep(chance.uniform(0, 2))
        while time.monotonic() < end:
            try:
                answer = await attack(client, chance, end)
                self.notes[f"{kind}: {answer}"] += 1
            except (httpx.HTTPError, OSError, asyncio.IncompleteReadError) as error:
                self.notes[f"{kind}: {type(error).__name__}"] += 1
            await asyncio.sleep(chance.uniform(0.05, 0.5))

    async def tiles(self, client: httpx.AsyncClient, chance: random.Random, _: float) -> int:
        return (await client.get(chance.choice(self.paths))).status_code

    async def save(self, client: httpx.AsyncClient, change: dict[str, Any]) -> int:
        url = f"/api/slides/{self.slide['slide_id']}/review"
        revision = (await client.get(url)).json().get("revision", 0)
        update = {"revision": revision, "reviewer": "Mallory", "changes": [change]}
        return (await client.put(url, json=update)).status_code

    async def saves(self, client: httpx.AsyncClient, chance: random.Random, _: float) -> int:
        x, y = chance.uniform(0, 2000), chance.uniform(0, 2000)
        square = [[x, y], [x + 900, y], [x + 900, y + 900], [x, y + 900]]
        item = str(uuid.UUID(int=chance.randrange(20)))  # again and again: the file stays small
        return await self.save(client, {"id": item, "outline": square, "decision": "rejected"})

    async def hostile_outlines(
        self, client: httpx.AsyncClient, chance: random.Random, _: float
    ) -> int:
        return await self.save(client, {"id": str(uuid.uuid4()), "outline": outline(chance)})

    async def bombs(self, client: httpx.AsyncClient, _: random.Random, __: float) -> int:
        files = {"file": ("a.tif", tile_bomb() + b"\0" * 2**20)}
        return (await client.post("/api/classify", files=files)).status_code

    async def wrong_tokens(self, client: httpx.AsyncClient, _: random.Random, __: float) -> int:
        data = {"token": secrets.token_hex(8)}
        return (await client.post("/enter", data=data)).status_code

    async def stalled_bodies(self, _: httpx.AsyncClient, chance: random.Random, end: float) -> str:
        size = chance.choice((900, 20 * 2**20))
        head = f"POST /enter HTTP/1.1\r\nhost: {self.host}\r\ncontent-length: {size}\r\n\r\ntoken="
        return await self.stall(head, end)

    async def stalled_headers(self, _: httpx.AsyncClient, __: random.Random, end: float) -> str:
        return await self.stall("GET / HTTP/1.1\r\nhost: ", end)

    async def stall(self, head: str, end: float) -> str:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(head.encode())
        try:
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(100), max(end - time.monotonic(), 0.1))
        except TimeoutError:
            return "held to the end"
        finally:
            writer.close()
        return answer.decode(errors="replace").split("\r\n")[0] or "closed"


def attack(*arguments: Any, n_clients: int, seconds: float) -> None:
    os.nice(5)  # the machine is shared: what is measured is the server, not its attackers
    attackers = Attackers(*arguments)
    asyncio.run(attackers.run(n_clients, seconds))
    for words, count in sorted(attackers.notes.items()):
        print(f"  {count:6d}  {words}", flush=True)


def honest(
    client: httpx.Client, slide: dict[str, Any], paths: list[str], seconds: float
) -> tuple[Notes, Notes, int]:
    """Look at tiles and save once a second; a conflict is what a page handles, and tried again."""
    tiles, saves, saved = Notes(), Notes(), 0
    chance, end = random.Random(1), time.monotonic() + seconds
    url, item = f"/api/slides/{slide['slide_id']}/review", str(uuid.uuid4())
    square = [[100, 100], [1100, 100], [1100, 1100], [100, 1100]]

    def timed(notes: Notes, method: str, path: str, **options: Any) -> httpx.Response:
        start = time.perf_counter()
        answer = client.request(method, path, **options)
        notes.seconds.append(time.perf_counter() - start)
        notes.statuses[str(answer.status_code)] += 1
        return answer

    while time.monotonic() < end:
        for path in chance.sample(paths, min(6, len(paths))):
            timed(tiles, "GET", path)
        for _ in range(20):
            revision = timed(saves, "GET", url).json()["revision"]
            change = {"id": item, "outline": square, "comment": str(saved)}
            update = {"revision": revision, "reviewer": REVIEWER, "changes": [change]}
            if timed(saves, "PUT", url, json=update).status_code == 200:
                saved += 1
                break
        time.sleep(1)
    return tiles, saves, saved


def tile_paths(slide: dict[str, Any]) -> list[str]:
    image, base = slide["image"], f"/api/slides/{slide['slide_id']}/tiles"
    paths = []
    for level in range(max(0, image["max_level"] - 4), image["max_level"] + 1):
        factor = 2 ** (image["max_level"] - level) * image["tile_px"]
        cols, rows = -(-image["width"] // factor), -(-image["height"] // factor)
        paths += [f"{base}/{level}/{c}_{r}.jpg" for c in range(cols) for r in range(rows)]
    return random.Random(0).sample(paths, min(400, len(paths)))


def memory_mb(pid: int, field_name: str) -> float:
    found = re.search(rf"{field_name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else float("nan")


def start(out: Path, token: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "wsi_pipeline", "serve", str(out), "--port", "0"]
    environment = {**os.environ, "WSI_PIPELINE_TOKEN": token}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found.group()
    raise SystemExit("the server did not start")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="output folder of a run; a copy")
    parser.add_argument("--slide", help="to review; default: the first that has its file")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    token = secrets.token_urlsafe(24)
    process, address = start(options.out, token)
    headers = {"x-wsi-pipeline": "1"}  # a browser: signed in, with the header of our pages
    with httpx.Client(base_url=address, timeout=60, headers=headers) as client:
        assert client.post("/enter", data={"token": token}).status_code == 303
        rows = client.get("/api/archive").json()["slides"]
        details = (client.get(f"/api/slides/{row['slide_id']}").json() for row in rows)
        slide = next(
            d
            for d in details
            if d["image"]["source"] == "slide"
            and d["map"]
            and options.slide in (None, d["slide_id"])
        )
        paths = tile_paths(slide)
        before = memory_mb(process.pid, "VmRSS")
        attackers = multiprocessing.get_context("spawn").Process(
            target=attack,
            args=(address, token, slide, paths),
            kwargs={"n_clients": options.clients, "seconds": options.seconds + 10},
        )
        attackers.start()
        tiles, saves, saved = honest(client, slide, paths, options.seconds)
    peak = memory_mb(process.pid, "VmHWM")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    end_seconds = time.monotonic() - begin
    attackers.join()
    print(f"honest tiles: {tiles.words()}\nhonest saves: {saves.words()}; {saved} saved")
    figures = {
        "slowest_tile_seconds": round(max(tiles.seconds), 3),
        "slowest_save_seconds": round(max(saves.seconds), 3),
        "errors": sum(n for s, n in (tiles.statuses + saves.statuses).items() if s >= "5"),
        "saved": saved,
        "memory_before_mb": round(before),
        "memory_peak_mb": round(peak),
        "end_seconds": round(end_seconds, 2),
    }
    print(json.dumps(figures))
    is_good = (
        max(tiles.seconds + saves.seconds) <= LONGEST_SECONDS
        and figures["errors"] == 0
        and peak - before <= LARGEST_GROWTH_MB
        and end_seconds <= END_SECONDS
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
