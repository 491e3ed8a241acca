import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.web.serving import Client, DarknessClassifier, Run
from wsi_pipeline.errors import IncompleteRunError, ModelError
from wsi_pipeline.maps import TissueRaster, write_map
from wsi_pipeline.results.status import Done, ResultSettings, read_status, write_status
from wsi_pipeline.tissue import QualityFlag
from wsi_pipeline.web.app import create_app
from wsi_pipeline.web.layers import grid_facts, layer_bytes

Make = Callable[..., bytes]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def test_the_archive_lists_every_slide_with_its_state(client: Client) -> None:
    archive = client.get("/api/archive").json()
    states = {row["slide_id"]: row["state"] for row in archive["slides"]}
    assert states == {"case 1": "done", "gone": "done", "failed": "failed", "empty": "empty"}
    assert archive["notice"] == "Research use only. Not for diagnosis."


def test_no_answer_tells_where_files_lie_on_the_server(client: Client, run: Run) -> None:
    for path in ("/api/archive", "/api/slides/case 1", "/api/slides/gone", "/openapi.json"):
        assert str(run.out.parent) not in client.get(path).text


def test_the_finest_tiles_show_the_slides_own_pixels(client: Client) -> None:
    image = client.get("/api/slides/case 1").json()["image"]
    assert (image["width"], image["height"], image["source"]) == (4096, 3072, "slide")
    hot = client.get(f"/api/slides/case 1/tiles/{image['max_level']}/7_4.jpg")
    cold = client.get(f"/api/slides/case 1/tiles/{image['max_level']}/1_1.jpg")
    assert hot.headers["content-type"] == "image/jpeg"
    assert np.abs(pixels(hot.content) - (96, 52, 128)).max() <= 4
    assert np.abs(pixels(cold.content) - (226, 160, 190)).max() <= 4


@pytest.mark.parametrize("below", [1, 2, 3])
def test_every_zoom_level_shows_the_hot_box_at_its_place(client: Client, below: int) -> None:
    level = 12 - below
    side = 2**below
    first = pixels(client.get(f"/api/slides/case 1/tiles/{level}/0_0.jpg").content)
    row, col = 1200 // side, 2000 // side
    tile = (col // 256, row // 256)
    seen = pixels(client.get(f"/api/slides/case 1/tiles/{level}/{tile[0]}_{tile[1]}.jpg").content)
    assert np.abs(seen[row % 256, col % 256] - (96, 52, 128)).max() <= 6
    assert np.abs(first[8, 8] - (226, 160, 190)).max() <= 6


@pytest.mark.parametrize("tile", ["13/0_0", "12/16_0", "12/0_12", "99/0_0"])
def test_a_tile_that_is_not_there_is_refused_in_words(client: Client, tile: str) -> None:
    answer = client.get(f"/api/slides/case 1/tiles/{tile}.jpg")
    assert answer.status_code == 404
    assert "zoom level" in answer.json()["error"]


@pytest.mark.parametrize("tile", ["-1/0_0", "12/-1_0", "a/0_0", "12/0_99999999999", "12/0"])
def test_a_tile_that_makes_no_sense_is_refused(client: Client, tile: str) -> None:
    assert client.get(f"/api/slides/case 1/tiles/{tile}.jpg").status_code in (404, 422)


@pytest.mark.parametrize(
    "slide_id",
    [
        "..",
        "%2e%2e",
        "..%2f..%2f..%2fetc%2fpasswd",
        "..%5c..%5cboot.ini",
        "%2fetc",
        "case 1%00",
        "case 1%2f..%2fgone",
        ".",
        "nothing",
        "x" * 255,
    ],
)
@pytest.mark.parametrize(
    "rest", ["", "/layers/probability", "/review", "/regions", "/tiles/0/0_0.jpg"]
)
def test_no_slide_id_reaches_the_disk_outside_the_run(
    client: Client, slide_id: str, rest: str
) -> None:
    answer = client.get(f"/api/slides/{slide_id}{rest}")
    assert answer.status_code in (404, 405, 422)
    assert set(answer.json()) == {"error", "advice"}


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2ferrors.py"]
)
def test_static_files_are_the_packages_own_only(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_map_comes_as_floats_with_nan_for_what_was_not_classified(
    client: Client, run: Run
) -> None:
    answer = client.get("/api/slides/case 1/layers/probability")
    grid = client.get("/api/slides/case 1").json()["map"]
    values = np.frombuffer(answer.content, "<f4").reshape(grid["rows"], grid["cols"])
    np.testing.assert_array_equal(values, run.map_.values)
    assert np.isnan(values[:, 0]).all()


def test_a_map_without_its_tissue_mask_says_so(client: Client) -> None:
    assert client.get("/api/slides/case 1").json()["map"]["mask"] is None
    assert client.get("/api/slides/case 1/layers/mask").status_code == 404


def test_the_tissue_mask_comes_in_its_own_frame(run: Run) -> None:
    inside = np.arange(12).reshape(3, 4) % 2 == 0
    map_ = replace(run.map_, mask=TissueRaster(inside, (64.0, 32.0), (16.0, 8.0)))
    x, y, _, _ = map_.bounds_l0
    facts = {"rows": 3, "cols": 4, "origin": [64 - x, 32 - y], "step": [16.0, 8.0]}
    assert grid_facts(map_)["mask"] == facts
    stored = gzip.decompress(layer_bytes(map_, "mask"))
    np.testing.assert_array_equal(np.frombuffer(stored, np.uint8).reshape(3, 4), inside)


def test_a_layer_that_the_run_did_not_make_is_refused(client: Client) -> None:
    answer = client.get("/api/slides/case 1/layers/uncertainty")
    assert answer.status_code == 404
    assert "--tta" in answer.json()["advice"]


def test_regions_come_as_the_run_wrote_them(client: Client, run: Run) -> None:
    stored = json.loads((run.out / "slides/case 1/regions.geojson").read_text())
    answer = client.get("/api/slides/case 1/regions").json()
    assert answer.pop("totals")["idc_mm2"] == 0.64
    assert answer == stored


def test_a_lower_threshold_finds_more_regions(client: Client) -> None:
    at = {
        p: client.get("/api/slides/case 1/regions", params={"threshold": p}).json()["features"]
        for p in (0.25, 0.5, 0.95)
    }
    assert [len(features) for features in at.values()] == [2, 1, 0]


def test_cells_that_results_drop_stay_dropped_at_every_threshold(
    own_run: Run, own_client: Client
) -> None:
    folder, quality = own_run.out / "slides/case 1", np.zeros(own_run.map_.values.shape, np.uint8)
    quality[6, 8] = QualityFlag.OUT_OF_FOCUS
    write_map(replace(own_run.map_, quality=quality), folder / "probability.zarr")
    status = read_status(folder)
    assert isinstance(status, Done)
    dropped = ResultSettings(threshold=status.threshold, flagged="dropped")
    write_status(folder, status.model_copy(update={"settings": dropped}))
    answer = own_client.get("/api/slides/case 1/regions", params={"threshold": 0.25})
    assert len(answer.json()["features"]) == 1
    layer = own_client.get("/api/slides/case 1/layers/probability").content
    assert np.isnan(np.frombuffer(layer, "<f4").reshape(quality.shape)[6, 8])


@pytest.mark.parametrize("threshold", ["2", "-0.1", "nan", "much"])
def test_a_threshold_that_is_no_probability_is_refused(client: Client, threshold: str) -> None:
    answer = client.get("/api/slides/case 1/regions", params={"threshold": threshold})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("threshold: ")


def test_without_its_file_a_slide_is_shown_from_the_thumbnail(client: Client) -> None:
    slide = client.get("/api/slides/gone").json()
    assert slide["image"]["source"] == "thumbnail"
    assert "--slides" in slide["warnings"][-1]
    assert client.get("/api/slides/gone/tiles/0/0_0.jpg").status_code == 404
    assert client.get("/api/slides/gone/pictures/thumbnail?width=64").status_code == 200


def test_slides_that_moved_are_found_again(
    own_run: Run, classifier: DarknessClassifier, tmp_path: Path
) -> None:
    own_run.phantom.path.rename(own_run.phantom.path.parent / "gone.tif")
    (tmp_path / "moved" / "deep").mkdir(parents=True)
    (own_run.phantom.path.parent / "gone.tif").rename(tmp_path / "moved" / "deep" / "gone.tif")
    client = Client(create_app(own_run.out, slides_dir=tmp_path / "moved", model=classifier))
    assert client.get("/api/slides/gone").json()["image"]["source"] == "slide"
    same = client.get("/api/slides/case 1").json()["image"]["source"]
    assert same == "slide", "of the same content, whatever it is called"


def test_a_file_of_that_name_that_is_another_slide_is_not_shown(
    own_run: Run, own_client: Client
) -> None:
    with Image.new("RGB", (900, 700)) as other:
        other.save(own_run.phantom.path)
    slide = own_client.get("/api/slides/case 1").json()
    assert slide["image"]["source"] == "thumbnail"
    assert "not the slide" in slide["warnings"][-1]


def test_a_failed_slide_says_why(client: Client) -> None:
    slide = client.get("/api/slides/failed").json()
    assert (slide["row"]["error"], slide["row"]["advice"]) == ("no mpp", "Give --mpp")
    assert slide["image"]["source"] == "none"
    assert client.get("/api/slides/failed/layers/probability").status_code == 404


def test_a_damaged_map_is_told_in_words(own_client: Client, own_run: Run) -> None:
    (own_run.out / "slides/case 1/probability.zarr/.zattrs").write_text("{")
    answer = own_client.get("/api/slides/case 1")
    assert answer.status_code == 503
    assert "damaged" in answer.json()["error"]


def test_a_slide_that_the_run_adds_later_appears(own_client: Client, own_run: Run) -> None:
    (own_run.out / "slides" / "late").mkdir()
    (own_run.out / "slides" / "late" / "status.json").write_text('{"state": "running"}')
    assert "late" in {row["slide_id"] for row in own_client.get("/api/archive").json()["slides"]}


def test_a_folder_without_results_is_refused(
    tmp_path: Path, classifier: DarknessClassifier
) -> None:
    with pytest.raises(IncompleteRunError, match="holds no slides"):
        create_app(tmp_path, model=classifier)


def test_results_stay_readable_when_their_model_is_damaged(
    own_client: Client, own_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(name: str) -> None:
        raise ModelError(f"{name} is damaged")

    monkeypatch.setattr(
        "wsi_pipeline.web.service.bundled_folders", lambda: {"darkness": own_run.out}
    )
    monkeypatch.setattr("wsi_pipeline.web.service.find_model", damaged)
    assert own_client.get("/api/slides/case 1").json()["operating_points"] == {}


def test_a_model_that_is_not_there_is_refused(run: Run) -> None:
    with pytest.raises(ModelError, match="no model"):
        create_app(run.out, model="nothing")


@pytest.mark.parametrize(
    "page", ["/", "/slides/case 1", "/slides/case 1/report", "/classify", "/slides/nothing"]
)
def test_every_page_says_what_it_is_not_for(client: Client, page: str) -> None:
    answer = client.get(page)
    assert "Research use only. Not for diagnosis." in answer.text
    assert answer.status_code == (404 if "nothing" in page else 200)


def test_pages_hold_no_script_or_style_or_address_of_others(client: Client) -> None:
    for page in ("/", "/slides/case 1", "/slides/case 1/report", "/classify", "/enter"):
        text = client.get(page).text
        assert "<script>" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_the_layers_travel_compressed(client: Client) -> None:
    answer = client.get("/api/slides/case 1/layers/tissue")
    assert answer.headers["content-encoding"] == "gzip"
    assert len(gzip.compress(answer.content)) < len(answer.content)
