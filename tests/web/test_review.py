import json
import os
import threading
import uuid
from typing import Any

import httpx
import pytest
import shapely

from tests.web.serving import Client, Run
from wsi_pipeline.execution import locks
from wsi_pipeline.geometry import Mpp
from wsi_pipeline.web.drawn import drawn_item

REVIEW = "/api/slides/case 1/review"
SQUARE = [[400.0, 400.0], [1200.0, 400.0], [1200.0, 800.0], [400.0, 800.0]]


def save(
    client: Client, *changes: dict[str, Any], revision: int = 0, reviewer: str = "Dr. A"
) -> httpx.Response:
    update = {"revision": revision, "reviewer": reviewer, "changes": list(changes)}
    return client.put(REVIEW, json=update)


@pytest.fixture
def region_id(own_client: Client) -> str:
    return own_client.get("/api/slides/case 1/regions").json()["features"][0]["id"]


def test_a_decision_is_kept_with_who_and_when(
    own_client: Client, own_run: Run, region_id: str
) -> None:
    said = {"decision": "accepted", "label": "DCIS", "comment": "Ducts µ"}
    answer = save(own_client, {"id": region_id, **said})
    assert answer.status_code == 200
    stored = json.loads((own_run.out / "slides/case 1/review.json").read_text())
    assert stored == answer.json() == own_client.get(REVIEW).json()
    item = stored["items"][region_id]
    assert {name: item[name] for name in said} == said
    assert item["reviewer"] == "Dr. A"
    assert item["measurements"]["Area mm^2"] == 0.64
    assert stored["revision"] == 1


def test_history_keeps_what_was_said_before(own_client: Client, region_id: str) -> None:
    save(own_client, {"id": region_id, "decision": "accepted"})
    after = save(
        own_client, {"id": region_id, "decision": "rejected"}, revision=1, reviewer="Dr. B"
    ).json()
    assert [entry["reviewer"] for entry in after["history"]] == ["Dr. A", "Dr. B"]
    change = after["history"][1]["changes"][0]
    assert change["before"]["decision"] == "accepted"
    assert change["after"]["decision"] == "rejected"


def test_the_second_of_two_savers_is_told_and_nothing_is_lost(
    own_client: Client, region_id: str
) -> None:
    save(own_client, {"id": region_id, "decision": "accepted"})
    late = save(own_client, {"id": region_id, "decision": "rejected"}, reviewer="Dr. B")
    assert late.status_code == 409
    assert "Dr. A has saved" in late.json()["error"]
    assert own_client.get(REVIEW).json()["items"][region_id]["decision"] == "accepted"


def test_of_many_savers_at_once_exactly_one_wins(own_client: Client, region_id: str) -> None:
    statuses: list[int] = []

    def one(number: int) -> None:
        change = {"id": region_id, "decision": "accepted", "comment": str(number)}
        statuses.append(save(own_client, change).status_code)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7
    assert own_client.get(REVIEW).json()["revision"] == 1


def test_a_server_that_does_not_let_go_of_the_review_is_named(
    own_client: Client, own_run: Run, region_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "REVIEW_PATIENCE_SECONDS", 0.05)
    with locks.review_lock(own_run.out / "slides" / "case 1"):
        answer = save(own_client, {"id": region_id, "decision": "accepted"})
    assert answer.status_code == 503
    assert "another server" in answer.json()["error"]
    assert not {"process", str(own_run.out), str(os.getpid())} & set(answer.text.split())
    assert save(own_client, {"id": region_id, "decision": "accepted"}).status_code == 200


def test_a_region_of_another_threshold_can_be_decided_on(own_client: Client) -> None:
    at = {"threshold": 0.25}
    features = own_client.get("/api/slides/case 1/regions", params=at).json()["features"]
    small = features[1]["id"]
    assert save(own_client, {"id": small, "decision": "accepted"}).status_code == 422
    answer = save(own_client, {"id": small, "decision": "accepted", **at})
    assert answer.json()["items"][small]["threshold"] == 0.25


def test_a_drawn_outline_gets_area_and_probability_from_the_map(own_client: Client) -> None:
    drawn = str(uuid.uuid4())
    item = save(own_client, {"id": drawn, "decision": "accepted", "outline": SQUARE}).json()[
        "items"
    ][drawn]
    assert item["kind"] == "drawn"
    assert item["measurements"]["Area mm^2"] == 0.32
    assert item["measurements"]["Perimeter mm"] == 2.4
    assert item["measurements"]["Patches"] == 2
    assert item["measurements"]["Mean probability"] == 0.0625


def test_a_drawn_outline_can_be_removed_and_stays_in_the_history(own_client: Client) -> None:
    drawn = str(uuid.uuid4())
    save(own_client, {"id": drawn, "outline": SQUARE})
    after = save(own_client, {"id": drawn, "removed": True}, revision=1).json()
    assert after["items"] == {}
    before = after["history"][1]["changes"][0]["before"]
    assert shapely.geometry.shape(before["geometry"]).area == 800 * 400


def test_what_the_program_found_cannot_be_removed(own_client: Client, region_id: str) -> None:
    save(own_client, {"id": region_id, "decision": "rejected"})
    answer = save(own_client, {"id": region_id, "removed": True}, revision=1)
    assert answer.status_code == 422
    assert "Reject it" in answer.json()["advice"]


def test_the_review_goes_out_as_qupath_reads_it(own_client: Client, region_id: str) -> None:
    drawn = str(uuid.uuid4())
    save(
        own_client,
        {"id": region_id, "decision": "rejected"},
        {"id": drawn, "decision": "accepted", "label": "DCIS", "outline": SQUARE},
    )
    every = own_client.get(f"{REVIEW}.geojson").json()["features"]
    names = {f["id"]: f["properties"]["classification"]["name"] for f in every}
    assert names == {region_id: "Ignore*", drawn: "DCIS"}
    for feature in every:
        assert shapely.geometry.shape(feature["geometry"]).is_valid
        assert feature["properties"]["objectType"] == "annotation"
        assert all(isinstance(v, str) for v in feature["properties"]["metadata"].values())
    accepted = own_client.get(f"{REVIEW}.geojson", params={"which": "accepted"}).json()
    assert [f["id"] for f in accepted["features"]] == [drawn]


def test_a_line_that_crosses_itself_becomes_valid_areas(run: Run) -> None:
    bow = [(400.0, 400.0), (1200.0, 800.0), (1200.0, 400.0), (400.0, 800.0)]
    item = drawn_item(bow, run.map_)
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["measurements"]["Area mm^2"] == 0.16


def test_areas_are_right_where_pixels_are_not_square(run: Run) -> None:
    from dataclasses import replace

    map_ = replace(run.map_, mpp=Mpp(2.0, 0.5))
    outline = [(x, y) for x, y in SQUARE]
    item = drawn_item(outline, map_)
    assert item["measurements"]["Area mm^2"] == 0.32
    assert item["measurements"]["Perimeter mm"] == 2 * (0.8 * 2 + 0.4 * 0.5)


ID = "9c055be5-2052-5cc9-9d91-2eac40670904"
FAR = [[1e6, 1e6], [2e6, 1e6], [2e6, 2e6]]
LINE = [[0, 0], [10, 10], [20, 20]]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../etc/passwd"},
        {"id": ID.upper()},
        {"id": ID},
        {"id": ID, "decision": "perhaps"},
        {"id": ID, "label": "x" * 81},
        {"id": ID, "comment": "x" * 4001},
        {"id": ID, "threshold": 1.5},
        {"id": ID, "unknown": 1},
        {"id": ID, "removed": True},
        {"id": ID, "outline": SQUARE[:2]},
        {"id": ID, "outline": [[0, 0]] * 5001},
        {"id": ID, "outline": [[0, 0, 0]] * 4},
        {"id": ID, "outline": FAR},
        {"id": ID, "outline": LINE},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_change_that_makes_no_sense_is_refused_and_writes_nothing(
    own_client: Client, own_run: Run, change: dict[str, Any]
) -> None:
    answer = save(own_client, change)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not (own_run.out / "slides/case 1/review.json").exists()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"revision": NaN}', b"\xff\xfe"])
def test_a_body_that_is_no_review_is_refused(own_client: Client, body: bytes) -> None:
    answer = own_client.put(REVIEW, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_that_are_none_are_refused(own_client: Client, number: str) -> None:
    corners = f"[[0, 0], [{number}, 0], [9, 9]]"
    text = f'{{"revision":0,"reviewer":"A","changes":[{{"id":"{ID}","outline":{corners}}}]}}'
    answer = own_client.put(REVIEW, content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("reviewer", ["", "   ", "a\nb", "x" * 81])
def test_a_review_needs_a_name(own_client: Client, region_id: str, reviewer: str) -> None:
    answer = save(own_client, {"id": region_id}, reviewer=reviewer)
    assert answer.status_code == 422
    assert "reviewer" in answer.json()["error"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"revision": 1}'])
def test_a_damaged_review_is_never_written_over(
    own_client: Client, own_run: Run, region_id: str, text: str
) -> None:
    path = own_run.out / "slides/case 1/review.json"
    path.write_text(text)
    answer = save(own_client, {"id": region_id, "decision": "accepted"})
    assert answer.status_code == 503
    assert "review" in answer.json()["error"]
    assert path.read_text() == text
    assert own_client.get("/api/archive").status_code == 200


def test_a_slide_that_is_not_there_has_no_review(own_client: Client) -> None:
    update = {"revision": 0, "reviewer": "A", "changes": [{"id": ID, "outline": SQUARE}]}
    assert own_client.put("/api/slides/nothing/review", json=update).status_code == 404
    assert own_client.put("/api/slides/failed/review", json=update).status_code == 404
