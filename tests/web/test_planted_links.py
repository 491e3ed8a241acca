"""An output folder that others can write to: the server shows nothing that lies elsewhere."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.web.serving import Client, DarknessClassifier, Run
from wsi_pipeline.web.app import create_app

PLANTED = ("regions.geojson", "thumbnail.jpg", "overlay.png", "status.json", "review.json")


@pytest.mark.parametrize("name", PLANTED)
def test_the_server_shows_nothing_that_a_link_leads_to(
    own_run: Run, classifier: DarknessClassifier, name: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    planted = own_run.out / "slides" / "case 1" / name
    secret.write_bytes(planted.read_bytes() if planted.exists() else b'{"secret": 1}')
    planted.unlink(missing_ok=True)
    planted.symlink_to(secret)
    client = Client(create_app(own_run.out, model=classifier))
    if name == "status.json":
        assert client.get("/api/archive").status_code in (200, 503)
        return
    path = {
        "regions.geojson": "regions",
        "thumbnail.jpg": "pictures/thumbnail",
        "overlay.png": "pictures/overlay",
        "review.json": "review",
    }[name]
    answer = client.get(f"/api/slides/case 1/{path}")
    assert answer.status_code in (404, 503)
    assert "secret" not in answer.text


def test_a_slide_folder_that_is_a_link_is_no_slide(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path
) -> None:
    (own_run.out / "slides" / "case 1").rename(tmp_path / "theirs")
    (own_run.out / "slides" / "case 1").symlink_to(tmp_path / "theirs")
    client = Client(create_app(own_run.out, model=classifier))
    ids = [row["slide_id"] for row in client.get("/api/archive").json()["slides"]]
    assert "case 1" not in ids
    assert client.get("/api/slides/case 1").status_code == 404


@pytest.mark.parametrize(
    "slide", ["secret.png", "/etc/hostname", "../secret.png", "\0", "/dev/zero"]
)
def test_a_status_that_names_a_picture_elsewhere_does_not_show_it(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path, slide: str
) -> None:
    Image.new("RGB", (4096, 3072), (1, 2, 3)).save(tmp_path / "secret.png")
    status_path = own_run.out / "slides" / "case 1" / "status.json"
    status = json.loads(status_path.read_text())
    named = str(tmp_path / slide) if slide == "secret.png" else slide
    status_path.write_text(json.dumps({**status, "slide": named}))
    os.utime(status_path, (1, 1))
    client = Client(create_app(own_run.out, model=classifier))
    shown = client.get("/api/slides/case 1").json()
    assert shown["image"]["source"] == "thumbnail"
    assert client.get("/api/slides/case 1/tiles/12/0_0.jpg").status_code == 404
