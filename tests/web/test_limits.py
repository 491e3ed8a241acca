"""What one client may take: threads, bodies, connections, slides; and an end that comes."""

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.types import Message

from tests.web.serving import Client, DarknessClassifier, Run, in_own_loop
from tests.web.test_serve import first_address, serving
from wsi_pipeline.annotations.features import Geometry
from wsi_pipeline.errors import SlideOpenError
from wsi_pipeline.execution.locks import review_lock
from wsi_pipeline.maps import TissueRaster, write_map
from wsi_pipeline.slides.source import SlideSource
from wsi_pipeline.web import open_slides, review, server
from wsi_pipeline.web.answers import NewItem
from wsi_pipeline.web.app import create_app, without_places
from wsi_pipeline.web.bodies import REVIEW, SMALL, UPLOAD, BodyLimit, UploadSlots, limit_of, take_in
from wsi_pipeline.web.catalog import Catalog
from wsi_pipeline.web.errors import BusyError, TimeoutRefusedError, TooLargeError
from wsi_pipeline.web.lanes import Lane
from wsi_pipeline.web.open_slides import OpenSlides

TOKEN = "a-token-that-is-long-enough-for-anyone"  # not a secret


def test_a_lane_refuses_who_would_wait_too_long_and_does_the_rest() -> None:
    lane, go = Lane("saving", at_once=1, waiting=1), threading.Event()

    async def crowd() -> list[Any]:
        first = [asyncio.create_task(lane.run(lambda: go.wait(30))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError, match="too many wait for saving"):
            await lane.run(lambda: True)
        go.set()
        return [await task for task in first] + [await lane.run(lambda: True)]

    assert in_own_loop(crowd()) == [True, True, True]


def test_work_that_did_not_begin_in_time_is_not_begun() -> None:
    lane, go, done = Lane("saving", 1, 5, patience_seconds=0.05), threading.Event(), []

    async def crowd() -> None:
        first = asyncio.create_task(lane.run(lambda: go.wait(30)))
        late = asyncio.create_task(lane.run(lambda: done.append(1)))
        await asyncio.sleep(0.2)
        go.set()
        await first
        with pytest.raises(BusyError):
            await late

    in_own_loop(crowd())
    assert done == []


def test_savers_that_wait_leave_the_readers_their_threads(
    own_run: Run, classifier: DarknessClassifier
) -> None:
    client = Client(create_app(own_run.out, model=classifier))
    regions = client.get("/api/slides/case 1/regions").json()["features"]
    change = {"id": regions[0]["id"], "decision": "accepted"}
    update = {"revision": 0, "reviewer": "A", "changes": [change]}
    with review_lock(own_run.out / "slides" / "case 1"), ThreadPoolExecutor(60) as pool:
        saves = [
            pool.submit(client.put, "/api/slides/case 1/review", json=update) for _ in range(60)
        ]
        time.sleep(0.3)
        assert client.get("/api/archive").status_code == 200
        assert client.get("/api/slides/case 1/tiles/12/0_0.jpg").status_code == 200
        assert not all(save.done() for save in saves)
    assert {save.result().status_code for save in saves} <= {200, 409, 429, 503}


def test_a_review_that_others_save_for_too_long_is_told(
    own_run: Run, classifier: DarknessClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "TURN_SECONDS", 0.05)
    store = review.ReviewStore(own_run.out / "slides" / "case 1")
    update = review.ReviewUpdate.model_validate(
        {
            "revision": 0,
            "reviewer": "A",
            "changes": [{"id": "9c055be5-2052-5cc9-9d91-2eac40670904"}],
        }
    )
    nowhere: Geometry = {"type": "Polygon", "coordinates": []}
    item: NewItem = {"kind": "detected", "geometry": nowhere, "measurements": {}}
    with store.turn, pytest.raises(BusyError, match="others are saving"):
        store.save(update, lambda _: item)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/enter", SMALL),
        ("POST", "/api/classify", UPLOAD),
        ("PUT", "/api/classify", SMALL),
        ("PUT", "/api/slides/case 1/review", REVIEW),
        ("PUT", "/api/slides/a/b/review", SMALL),
        ("POST", "/anything", SMALL),
    ],
)
def test_each_route_takes_what_it_needs(method: str, path: str, expected: BodyLimit) -> None:
    assert limit_of(method, path) is expected


def messages(*chunks: bytes, ends: bool = True) -> Callable[[], Any]:
    left = list(chunks)

    async def receive() -> Message:
        if left:
            body = left.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(left) or not ends}
        return await asyncio.Future()

    return receive


def taken(limit: BodyLimit, receive: Callable[[], Any], **headers: str) -> bytes:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def take() -> bytes:
        handed = await take_in({"type": "http", "headers": raw}, receive, limit)
        body: bytes = (await handed())["body"]
        return body

    return in_own_loop(take())


def test_a_body_is_handed_on_whole() -> None:
    assert taken(SMALL, messages(b"ab", b"", b"c")) == b"abc"


@pytest.mark.parametrize("length", ["9", "99999999999999999999999", "x"])
def test_a_body_beyond_its_limit_is_refused_whatever_it_states(length: str) -> None:
    with pytest.raises(TooLargeError, match="larger than"):
        taken(BodyLimit(8), messages(b"12345", b"6789"), content_length=length)


@pytest.mark.parametrize("limit", [BodyLimit(9, 0.01, 9), BodyLimit(9, 9, 0.01)])
def test_a_body_that_does_not_come_is_not_waited_for(limit: BodyLimit) -> None:
    with pytest.raises(TimeoutRefusedError, match="in time"):
        taken(limit, messages(b"1", ends=False))


def test_uploads_are_few_at_once() -> None:
    slots = UploadSlots(1)
    with slots.slot(UPLOAD):
        with slots.slot(SMALL):
            pass
        with pytest.raises(BusyError, match="others are sending"), slots.slot(UPLOAD):
            raise AssertionError("taken twice")
    with slots.slot(UPLOAD):
        pass


class HangingSource(SlideSource):
    """A slide that opens when it is told to."""

    __slots__ = ()

    def open(self) -> Any:
        if self.path.name == "hangs":
            GO.wait(60)
        if self.path.name == "broken":
            raise SlideOpenError("broken")
        return SimpleNamespace(path=self.path)


GO = threading.Event()


@pytest.fixture
def hanging() -> Iterator[None]:
    GO.clear()
    yield
    GO.set()


@pytest.mark.usefixtures("hanging")
def test_a_slide_that_hangs_makes_no_other_wait() -> None:
    slides = OpenSlides(patience_seconds=0.05)
    for _ in range(2):
        with pytest.raises(BusyError, match="takes long to be opened"):
            slides.get(HangingSource(Path("hangs")))
    one = slides.get(HangingSource(Path("a")))
    assert one is not None
    assert slides.get(HangingSource(Path("a"))) is one
    assert slides.get(HangingSource(Path("broken"))) is None


@pytest.mark.usefixtures("hanging")
def test_not_all_threads_go_into_slides_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    slides = OpenSlides(patience_seconds=0.01)
    before = threading.active_count()
    for n in range(open_slides.OPENING_AT_ONCE + 3):
        with pytest.raises(BusyError):
            slides.get(HangingSource(Path(f"folder {n}") / "hangs"))
    assert threading.active_count() <= before + open_slides.OPENING_AT_ONCE


def test_slides_that_were_not_looked_at_for_long_are_let_go() -> None:
    slides = OpenSlides()
    first = slides.get(HangingSource(Path("0")))
    for n in range(1, open_slides.OPEN_SLIDES + 2):
        slides.get(HangingSource(Path(str(n))))
    assert len(slides) <= open_slides.OPEN_SLIDES + 1
    assert slides.get(HangingSource(Path("0"))) is not first


class FakeConnection(server.PatientProtocol):
    def __init__(self, idle_seconds: float, *, answering: bool) -> None:
        self._since, self.cycle = time.monotonic() - idle_seconds, None  # type: ignore[assignment]
        if answering:
            self.cycle = SimpleNamespace(response_complete=False)  # type: ignore[assignment]
        self.aborted = False
        self.transport = SimpleNamespace(abort=self.note)  # type: ignore[assignment]

    def note(self) -> None:
        self.aborted = True


def test_maps_are_kept_in_memory_by_all_that_they_hold(
    own_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the tissue mask is some hundred times as large as the cells
    mask = TissueRaster(np.ones((400, 500), np.bool_), (0.0, 0.0), (8.0, 8.0))
    write_map(replace(own_run.map_, mask=mask), own_run.out / "slides/case 1/probability.zarr")
    for most_bytes, is_kept in ((210_000, True), (190_000, False)):
        monkeypatch.setattr("wsi_pipeline.web.catalog.MAP_CACHE_BYTES", most_bytes)
        catalog = Catalog(own_run.out)
        first, second = (catalog.map(catalog.entry("case 1")) for _ in range(2))
        assert (first is second) is is_kept


def test_where_too_many_are_connected_the_one_that_says_nothing_goes() -> None:
    busy = FakeConnection(100, answering=True)
    silent, fresh = FakeConnection(10, answering=False), FakeConnection(1, answering=False)
    connections: set[Any] = {busy, silent, fresh}
    server.make_room(connections, most=4)
    assert [one.aborted for one in (busy, silent, fresh)] == [False] * 3
    server.make_room(connections, most=3)
    assert (busy.aborted, silent.aborted, fresh.aborted) == (False, True, False)
    assert connections == {busy, fresh}


def memory_mb(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell a process's peak")
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


@contextmanager
def stalled(address: str, head: str, body: bytes, n: int) -> Iterator[list[socket.socket]]:
    host, port = address.removeprefix("http://").split("/")[0].split(":")
    sockets = []
    try:
        for _ in range(n):
            one = socket.create_connection((host, int(port)), timeout=30)
            one.sendall(head.encode() + body)
            sockets.append(one)
        yield sockets
    finally:
        for one in sockets:
            one.close()


def test_bodies_that_never_come_hold_no_memory_and_no_connection(own_run: Run) -> None:
    with serving(own_run.out) as (process, printed):
        address = first_address(printed)
        httpx.get(f"{address.split('?')[0]}", timeout=60)
        before = memory_mb(process.pid, "VmRSS")
        head = f"POST /enter HTTP/1.1\r\nhost: x\r\ncontent-length: {24 * 2**20}\r\n\r\n"
        with stalled(address, head, b"x" * 2**20, 60) as sockets:
            answers = [one.recv(100) for one in sockets]
        assert all(b" 413 " in answer or not answer for answer in answers)
        assert memory_mb(process.pid, "VmHWM") - before < 150


def test_a_server_that_is_told_to_stop_ends_whatever_is_going_on(own_run: Run) -> None:
    with serving(own_run.out) as (process, printed):
        address = first_address(printed)
        head = "POST /enter HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\ntoken="
        with stalled(address, head, b"", 20), stalled(address, "GET / HT", b"", 20):
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        assert process.returncode in (-signal.SIGTERM, 130, 143)


def test_requests_without_end_or_sense_are_sentences(client: Client) -> None:
    place = "/api/slides/case 1/review"
    for body in ("[" * 100_000, '{"a":' * 100_000, '{"revision":' + "9" * 5000 + "}"):
        answer = client.put(place, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, answer.text
        assert {"error", "advice"} <= answer.json().keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/out/slides/a/status.json cannot be read", "slides/a/status.json cannot be read"),
        ("/etc/x cannot be read", "the results cannot be read or written"),
        ("it is in '/srv/y'", "the results cannot be read or written"),
        ("review.json of a cannot be read", "review.json of a cannot be read"),
        ("µm/px and 1/2 are fine", "µm/px and 1/2 are fine"),
    ],
)
def test_a_visitor_hears_of_no_places(text: str, expected: str) -> None:
    assert without_places(text, Path("/data/out")) == expected


def test_what_is_damaged_is_told_without_places(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path
) -> None:
    folder = own_run.out / "slides" / "case 1"
    (folder / "probability.zarr" / "0" / ".zarray").write_text("{")
    (folder / "regions.geojson").write_text("[" * 100_000)
    client = Client(create_app(own_run.out, model=classifier))
    for path in (
        "/api/slides/case 1",
        "/api/slides/case 1/regions",
        "/api/slides/case 1/layers/raw",
    ):
        answer = client.get(path)
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text
        assert json.loads(answer.text)["error"]
