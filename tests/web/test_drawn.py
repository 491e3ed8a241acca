"""Outlines drawn by nobody's hand: refused in bounded work, whatever they look like."""

import json
import time
import uuid

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from tests.web.serving import Client, Run
from wsi_pipeline.web import drawn
from wsi_pipeline.web.drawn import check_crossings, drawn_item
from wsi_pipeline.web.errors import UnusableError

REVIEW = "/api/slides/case 1/review"
RANDOM = np.random.default_rng(0)


def comb(n: int) -> NDArray[np.float64]:
    """Return a line of n diagonals beside each other: every box overlaps, nothing crosses."""
    step = np.arange(n // 2)
    corners = np.empty((n // 2 * 2, 2))
    corners[0::2] = np.c_[step * 0.5, step * 0]
    corners[1::2] = np.c_[step * 0.5 + 1500, step * 0 + 1500]
    return corners


HOSTILE = {
    "random": RANDOM.uniform(0, 3000, (1000, 2)),
    "random and long": RANDOM.uniform(0, 3000, (5000, 2)),
    "to and fro": np.tile([[0.0, 0.0], [1000.0, 1000.0]], (2500, 1)),
    "a comb": comb(5000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_outline_of_many_crossings_is_refused_without_being_made_valid(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the expensive step was reached")

    monkeypatch.setattr(shapely, "make_valid", never)
    with pytest.raises(UnusableError, match=r"crosses itself more than 500 times\. Draw it again"):
        drawn_item([(x, y) for x, y in HOSTILE[name].tolist()], run.map_)


def test_the_work_is_bounded_by_what_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    count = drawn.n_crossing

    def counting(*segments: NDArray[np.float64]) -> int:
        looked_at.append(len(segments[0]))
        return count(*segments)

    monkeypatch.setattr(drawn, "n_crossing", counting)
    for corners in HOSTILE.values():
        looked_at.clear()
        with pytest.raises(UnusableError):
            check_crossings(corners)
        assert sum(looked_at) <= drawn.MOST_NEAR_PAIRS + 64 * 5000


def test_a_long_honest_outline_is_taken(run: Run) -> None:
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    circle = np.c_[1500 + 1000 * np.cos(angle), 1500 + 1000 * np.sin(angle)]
    item = drawn_item([(x, y) for x, y in circle.tolist()], run.map_)
    assert item["measurements"]["Area mm^2"] == pytest.approx(np.pi, rel=1e-5)


def test_a_hand_that_rests_and_slips_is_taken(run: Run) -> None:
    resting = [(400.0, 400.0)] * 3 + [(1200.0, 400.0), (1200.0, 400.0), (1200.0, 800.0)]
    slipped = [*resting, (800.0, 390.0), (400.0, 800.0)]
    assert drawn_item(slipped, run.map_)["measurements"]["Area mm^2"] > 0.15


def test_crossings_are_counted_right() -> None:
    star = [(np.cos(a), np.sin(a)) for a in np.arange(5) * 4 * np.pi / 5]  # a pentagram: 5
    corners = np.array(star)
    for most, is_refused in ((4, True), (5, False)):
        drawn_most, drawn.MOST_CROSSINGS = drawn.MOST_CROSSINGS, most  # type: ignore[misc]
        try:
            if is_refused:
                with pytest.raises(UnusableError):
                    check_crossings(corners)
            else:
                check_crossings(corners)
        finally:
            drawn.MOST_CROSSINGS = drawn_most  # type: ignore[misc]


def test_a_hostile_outline_neither_stops_the_server_nor_is_kept(
    own_client: Client, own_run: Run
) -> None:
    corners = HOSTILE["random"].tolist()
    change = {"id": str(uuid.uuid4()), "decision": "accepted", "outline": corners}
    update = {"revision": 0, "reviewer": "Mallory", "changes": [change]}
    before = time.thread_time()
    answer = own_client.put(REVIEW, json=update)
    assert answer.status_code == 422
    assert "Draw it again" in answer.json()["advice"]
    assert time.thread_time() - before < 5
    assert not (own_run.out / "slides/case 1/review.json").exists()


@pytest.mark.parametrize("number", [1e308, -1e308, 1.0000001e7])
def test_corners_beyond_any_slide_are_refused(own_client: Client, number: float) -> None:
    outline = [[0, 0], [number, 0], [9, 9]]
    update = {
        "revision": 0,
        "reviewer": "A",
        "changes": [{"id": str(uuid.uuid4()), "outline": outline}],
    }
    answer = own_client.put(
        REVIEW, content=json.dumps(update), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "outline" in answer.json()["error"]


def test_a_save_of_too_many_corners_is_refused(own_client: Client) -> None:
    angle = np.linspace(0, 6, 5000)
    arc = np.c_[1500 + 1000 * np.cos(angle), 1500 + 1000 * np.sin(angle)].tolist()
    changes = [{"id": str(uuid.uuid4()), "outline": arc} for _ in range(5)]
    answer = own_client.put(REVIEW, json={"revision": 0, "reviewer": "A", "changes": changes})
    assert answer.status_code == 422
    assert "20000 corners" in answer.json()["error"]


def test_a_save_at_too_many_thresholds_is_refused(own_client: Client) -> None:
    changes = [{"id": str(uuid.uuid4()), "threshold": n / 100} for n in range(17)]
    answer = own_client.put(REVIEW, json={"revision": 0, "reviewer": "A", "changes": changes})
    assert answer.status_code == 422
    assert "16 thresholds" in answer.json()["error"]
