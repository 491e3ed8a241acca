import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.hostile import EPS, circle, many_scans, measured, tile_bomb
from tests.web.serving import Client, DarknessClassifier, Run
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.pipeline.pictures import classify_image
from wsi_pipeline.web import classify as classify_module
from wsi_pipeline.web.app import create_app
from wsi_pipeline.web.classify import MAX_PIXELS, decode, occlusion, prepare
from wsi_pipeline.web.errors import TooLargeError, UnusableError

Make = Callable[..., bytes]


def send(client: Client, data: bytes, **params: float) -> httpx.Response:
    return client.post("/api/classify", files={"file": ("patch.png", data)}, params=params)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_patch_gets_its_probability_and_both_calls(
    client: Client, picture: Make, form: str
) -> None:
    answer = send(client, picture(color=(153, 153, 153), form=form)).json()
    assert answer["probability"] == pytest.approx(0.4, abs=0.01)
    assert {c["operating_point"]: c["is_idc"] for c in answer["calls"]} == {
        "balanced": False,
        "high_sensitivity": True,
    }
    assert answer["spread"] == pytest.approx(0, abs=1e-6)
    assert answer["notice"] == "Research use only. Not for diagnosis."
    assert (answer["rows"], answer["cols"], answer["is_padded"]) == (1, 1, False)


def test_a_field_is_cut_into_patches_and_the_highest_is_called(client: Client) -> None:
    field = np.full((100, 150, 3), (232, 228, 230), np.uint8)
    field[50:, 100:] = (35, 15, 25)
    buffer = BytesIO()
    Image.fromarray(field).save(buffer, "PNG")
    answer = send(client, buffer.getvalue()).json()
    assert (answer["rows"], answer["cols"]) == (2, 3)
    assert int(np.argmax(answer["probabilities"])) == answer["occlusion"]["patch"] == 5
    assert answer["probability"] == pytest.approx(1 - 25 / 255, abs=1e-3)


def test_a_finer_picture_is_brought_to_the_models_scale(client: Client, picture: Make) -> None:
    answer = send(client, picture(400, 400), um_px=1.0).json()
    assert (answer["rows"], answer["cols"], answer["is_scale_assumed"]) == (1, 1, False)
    assert send(client, picture(100, 100)).json()["is_scale_assumed"] is True


def test_a_picture_coarser_than_the_model_is_refused(client: Client, picture: Make) -> None:
    answer = send(client, picture(), um_px=16.0)
    assert answer.status_code == 422
    assert "coarser than the model" in answer.json()["error"]


def test_transparent_pixels_are_glass(client: Client, picture: Make) -> None:
    answer = send(client, picture(color=(0, 0, 0, 0), mode="RGBA"))
    assert answer.json()["probability"] < 0.01


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a\x01\x00\x01\x00",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*\x00\x08\x00\x00\x00" + b"\xff" * 200,
        b"\xff\xd8\xff\xe0" + b"\x00" * 50,
        png_header(50, 50),
    ],
    ids=["empty", "text", "png cut off", "gif", "svg", "tiff of garbage", "jpeg", "png too short"],
)
def test_what_is_no_picture_is_refused(client: Client, data: bytes) -> None:
    answer = send(client, data)
    assert answer.status_code == 422
    assert "error" in answer.json()


def test_a_picture_cut_off_anywhere_is_refused_or_read(picture: Make) -> None:
    for form in ("PNG", "JPEG", "TIFF"):
        whole = picture(60, 40, form=form)
        for length in range(0, len(whole), 7):
            try:
                assert decode(whole[:length]).rgb.shape == (40, 60, 3)
            except UnusableError:
                continue


@pytest.mark.parametrize("side", [5_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_from_its_header(client: Client, side: int) -> None:
    answer = send(client, png_header(side, side))
    assert answer.status_code in (413, 422)
    assert answer.elapsed.total_seconds() < 2


def test_pixels_are_counted_before_they_are_unpacked() -> None:
    with pytest.raises(TooLargeError, match="megapixels"):
        decode(png_header(MAX_PIXELS // 1000 + 1, 1000))


def test_a_file_of_too_many_bytes_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_pipeline.web.api.MAX_UPLOAD_BYTES", 100)
    assert send(client, b"x" * 101).status_code == 413


def test_sixteen_bit_pictures_are_refused() -> None:
    buffer = BytesIO()
    Image.fromarray(np.zeros((50, 50), np.uint16)).save(buffer, "PNG")
    with pytest.raises(UnusableError, match="8 bits"):
        decode(buffer.getvalue())


def test_a_request_without_a_file_is_refused(client: Client) -> None:
    for answer in (
        client.post("/api/classify"),
        client.post("/api/classify", data={"file": "text"}),
        client.post("/api/classify", content=b"x", headers={"content-type": "multipart/form-data"}),
    ):
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]


@pytest.mark.parametrize("um_px", ["0", "-1", "nan", "inf", "x", "1000"])
def test_a_scale_that_is_none_is_refused(client: Client, picture: Make, um_px: str) -> None:
    answer = client.post("/api/classify", files={"file": picture()}, params={"um_px": um_px})
    assert answer.status_code == 422


def test_while_the_model_is_at_work_others_wait_and_are_told(
    client: Client, picture: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify_module, "WAIT_SECONDS", 0.01)
    turn = client.app.state.service.uploads.turn
    with turn:
        assert send(client, picture()).status_code == 429
    assert send(client, picture()).status_code == 200


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((50, 50), (1, 1, False)),
        ((60, 55), (1, 1, False)),
        ((30, 50), (1, 1, True)),
        ((80, 130), (2, 3, True)),
        ((100, 100), (2, 2, False)),
    ],
)
def test_a_field_is_cut_to_the_nearest_number_of_patches(
    classifier: DarknessClassifier, shape: tuple[int, int], expected: tuple[int, int, bool]
) -> None:
    field, stain = prepare(np.zeros((*shape, 3), np.uint8), 8.0, classifier.card)
    assert (field.rows, field.cols, any(field.notes)) == expected
    assert field.patches.shape == (field.rows * field.cols, 50, 50, 3)
    assert stain == ""


@pytest.mark.parametrize("shape", [(24, 50), (50, 10)])
def test_less_than_half_a_patch_is_refused(
    classifier: DarknessClassifier, shape: tuple[int, int]
) -> None:
    with pytest.raises(UnusableError, match="larger field"):
        prepare(np.zeros((*shape, 3), np.uint8), 8.0, classifier.card)


def test_a_field_as_large_as_a_slide_is_refused(classifier: DarknessClassifier) -> None:
    with pytest.raises(TooLargeError, match="patches"):
        prepare(np.zeros((50, 50 * 901, 3), np.uint8), 8.0, classifier.card)


def stained(strength: float, eosin: tuple[float, float, float]) -> RgbArray:
    """Return a field of 200 x 200 px that looks like H&E; `eosin` is its color's density."""
    chance = np.random.default_rng(0)
    amounts = chance.gamma(2.0, 0.35, (200, 200, 2)) * strength
    density = amounts @ np.array([(0.65, 0.70, 0.29), eosin])
    return np.asarray((255 * np.exp(-density)).round().clip(0, 255), np.uint8)


def with_stain(classifier: DarknessClassifier, method: str) -> DarknessClassifier:
    return DarknessClassifier(replace(classifier.card, stain=method))


def test_a_model_trained_on_normalized_stain_gets_it_from_the_page_and_the_command(
    run: Run, classifier: DarknessClassifier, tmp_path: Path
) -> None:
    normalizing = with_stain(classifier, "macenko")
    client = Client(create_app(run.out, model=normalizing))
    found: dict[str, list[float]] = {"none": [], "macenko": []}
    fields = (stained(1.0, (0.07, 0.99, 0.11)), stained(0.6, (0.20, 0.95, 0.25)))
    for n, field in enumerate(fields):
        path = tmp_path / f"{n}.png"
        Image.fromarray(field).save(path)
        answer = send(client, path.read_bytes()).json()
        calls = list(classify_image(path, normalizing, tta=True))
        assert answer["stain"] == calls[0].note
        assert "stain normalized (macenko, fitted on this picture alone)" in answer["stain"]
        assert answer["probabilities"] == pytest.approx([c.probability for c in calls], abs=1e-6)
        found["macenko"].append(answer["probability"])
        plain = classify_image(path, classifier, tta=True)
        found["none"].append(max(call.probability for call in plain))
    apart = {name: abs(one - other) for name, (one, other) in found.items()}
    assert apart["macenko"] < 0.25 * apart["none"]


def test_a_picture_that_cannot_carry_the_fit_is_left_as_it_is_and_that_is_said(
    run: Run, classifier: DarknessClassifier, picture: Make
) -> None:
    client = Client(create_app(run.out, model=with_stain(classifier, "macenko")))
    answer = send(client, picture(color=(250, 250, 250))).json()
    assert answer["stain"].startswith("stain not normalized: the model asks for macenko")
    assert answer["probability"] == pytest.approx(1 - 250 / 255, abs=1e-3)


def test_occlusion_points_at_what_the_model_sees(classifier: DarknessClassifier) -> None:
    patch = np.full((50, 50, 3), 240, np.uint8)
    patch[30:40, 10:20] = 0
    found = occlusion(classifier, patch, 0)
    drop = np.array(found.drop).reshape(found.side, found.side)
    row, col = divmod(int(drop.argmax()), found.side)
    corner = (row * 50 // found.side, col * 50 // found.side)
    assert corner in {(30, 10), (30, 15), (35, 10), (35, 15)}
    assert drop[0, -1] < 0.2 * drop.max()


DECODE = "decode(open(sys.argv[1], 'rb').read())"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tile_bomb(), "16384 x 21840 px"),
        (circle(), "form a circle"),
        (many_scans(), "64 scans"),
        (EPS, "no readable picture"),
    ],
    ids=["tile", "circle", "scans", "postscript"],
)
def test_a_bomb_costs_neither_memory_nor_time(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(data)
    said, megabytes = measured("from wsi_pipeline.web.classify import decode", DECODE, path)
    assert words in said
    assert megabytes < 60


def test_the_largest_picture_that_is_taken_costs_a_bounded_memory(tmp_path: Path) -> None:
    Image.new("RGBA", (4000, 4000)).save(tmp_path / "a.png", compress_level=1)
    said, megabytes = measured(
        "from wsi_pipeline.web.classify import decode", DECODE, tmp_path / "a.png"
    )
    assert said == "done"
    assert megabytes < 400
