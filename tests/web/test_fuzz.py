"""Whatever the interface's own description allows, and some that it does not, sent to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from tests.web.serving import DarknessClassifier, make_run
from wsi_pipeline.web.app import create_app

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")


BOUNDED = settings(
    max_examples=10,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
OPERATIONS = (
    "GET /api/session",
    "GET /api/archive",
    "GET /api/slides/{slide_id}",
    "GET /api/slides/{slide_id}/tiles/{level}/{col}_{row}.jpg",
    "GET /api/slides/{slide_id}/pictures/{name}",
    "GET /api/slides/{slide_id}/layers/{layer}",
    "GET /api/slides/{slide_id}/regions",
    "GET /api/slides/{slide_id}/review",
    "PUT /api/slides/{slide_id}/review",
    "GET /api/slides/{slide_id}/review.geojson",
    "GET /api/model",
    "POST /api/classify",
)


@pytest.fixture(scope="module")
def operations(
    tmp_path_factory: pytest.TempPathFactory, classifier: DarknessClassifier
) -> dict[str, Any]:
    """Return the operations of a server of our own by method and path."""
    app = create_app(make_run(tmp_path_factory.mktemp("fuzz")).out, model=classifier)
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    schema.config.update(base_url="http://127.0.0.1")
    found = [result.ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_every_operation_is_fuzzed(operations: dict[str, Any]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
)
def test_no_request_breaks_the_server(operations: dict[str, Any], name: str, mode: Any) -> None:
    operation = operations[name]

    @settings(BOUNDED)
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        own = dict(case.path_parameters or {})
        places = [own, {**own, "slide_id": "case 1"}] if "slide_id" in own else [own]
        for place in places:
            case.path_parameters = place
            answer = case.call()
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert {"error", "advice"} <= answer.json().keys()

    try:
        send()
    except Unsatisfiable:
        pytest.skip("nothing can be wrong in a request without parameters")
