"""The history of a review: whatever was changed behind the server's back is noticed."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.serving import Client, Run
from wsi_pipeline.web.history import HASH, break_of, chained

REVIEW = "/api/slides/case 1/review"
SQUARE = [[400.0, 400.0], [1200.0, 400.0], [1200.0, 800.0], [400.0, 800.0]]


def save(client: Client, revision: int, **change: Any) -> dict[str, Any]:
    change = {"id": str(uuid.uuid4()), "outline": SQUARE, **change}
    answer = client.put(
        REVIEW, json={"revision": revision, "reviewer": f"Dr. {revision}", "changes": [change]}
    )
    assert answer.status_code == 200, answer.text
    review: dict[str, Any] = answer.json()
    return review


@pytest.fixture
def path(own_client: Client, own_run: Run) -> Path:
    """Return a review of three saves."""
    for revision in range(3):
        save(own_client, revision, decision="accepted")
    return own_run.out / "slides/case 1/review.json"


def other_decision(review: dict[str, Any]) -> None:
    next(iter(review["items"].values()))["decision"] = "rejected"


def other_name(review: dict[str, Any]) -> None:
    review["history"][1]["reviewer"] = "Prof. Dr. Chief"


def no_second(review: dict[str, Any]) -> None:
    del review["history"][1]


def no_last(review: dict[str, Any]) -> None:
    del review["history"][2]


def no_first(review: dict[str, Any]) -> None:
    del review["history"][0]


def other_order(review: dict[str, Any]) -> None:
    review["history"][:2] = review["history"][1::-1]


def no_hash(review: dict[str, Any]) -> None:
    del review["history"][1][HASH]


def older(review: dict[str, Any]) -> None:
    review["revision"] = 2


@pytest.mark.parametrize(
    "forge",
    [other_decision, other_name, no_second, no_last, no_first, other_order, no_hash, older],
)
def test_a_forged_review_is_noticed_and_nothing_is_saved_on_top_of_it(
    own_client: Client, path: Path, forge: Callable[[dict[str, Any]], None]
) -> None:
    review = json.loads(path.read_text())
    assert break_of(review) == ""
    forge(review)
    path.write_text(json.dumps(review))
    shown = own_client.get(REVIEW)
    assert shown.status_code == 503
    assert "was changed by something else" in shown.json()["error"]
    update = {
        "revision": review["revision"],
        "reviewer": "A",
        "changes": [{"id": str(uuid.uuid4())}],
    }
    assert own_client.put(REVIEW, json=update).status_code == 503
    assert json.loads(path.read_text()) == review
    row = next(
        r for r in own_client.get("/api/archive").json()["slides"] if r["slide_id"] == "case 1"
    )
    assert "was changed by something else" in row["review"]["problem"]


def test_a_review_of_an_older_version_is_taken_over(own_client: Client, path: Path) -> None:
    review = json.loads(path.read_text())
    for entry in review["history"]:
        for name in [name for name in entry if "sha256" in name]:
            del entry[name]
    path.write_text(json.dumps(review))
    after = save(own_client, 3)
    assert [HASH in entry for entry in after["history"]] == [False, False, False, True]
    assert break_of(after) == ""
    after["history"][0]["reviewer"] = "Prof. Dr. Chief"
    assert break_of(after) == "an entry before entry 4 is missing or was changed"


def test_the_same_review_written_by_another_program_is_the_same(path: Path) -> None:
    review = json.loads(path.read_text())
    again = json.loads(json.dumps(review, sort_keys=True, ensure_ascii=True, indent=7))
    assert break_of(again) == ""


def test_an_entry_names_the_one_before_it() -> None:
    first = chained({"revision": 1, "time": "", "reviewer": "A", "changes": []}, [], {})
    second = chained({"revision": 2, "time": "", "reviewer": "A", "changes": []}, [first], {})
    assert second["before_sha256"] == first[HASH]
    assert break_of({"revision": 2, "items": {}, "history": [first, second]}) == ""
