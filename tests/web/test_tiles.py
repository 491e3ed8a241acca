import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.phantoms import write_phantom
from tests.web.serving import Run, bind_again
from wsi_pipeline.geometry import Box, Size
from wsi_pipeline.results.status import Failed, write_status
from wsi_pipeline.slides import Pyramid
from wsi_pipeline.web.cache import ByteBoundCache
from wsi_pipeline.web.catalog import Catalog
from wsi_pipeline.web.errors import NotFoundError
from wsi_pipeline.web.layers import grid_facts
from wsi_pipeline.web.tiles import DeepZoom, TileServer, plan_zoom

sides = st.integers(1, 400_000)


@given(sides, sides)
def test_the_first_level_is_one_pixel_and_the_last_the_image(width: int, height: int) -> None:
    zoom = DeepZoom(Size(width, height))
    assert zoom.size_zoom(0) == Size(1, 1)
    assert zoom.size_zoom(zoom.max_level) == Size(width, height)
    assert zoom.downsample(zoom.max_level) == 1


@given(sides, sides, st.data())
def test_each_level_is_half_of_the_next_rounded_up(
    width: int, height: int, data: st.DataObject
) -> None:
    zoom = DeepZoom(Size(width, height))
    level = data.draw(st.integers(0, max(0, zoom.max_level - 1)))
    if zoom.max_level == 0:
        return
    finer, coarser = zoom.size_zoom(level + 1), zoom.size_zoom(level)
    assert coarser == Size(-(-finer.width // 2), -(-finer.height // 2))


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 700), st.data())
def test_the_tiles_of_a_level_cover_it_exactly_once(
    width: int, height: int, tile_px: int, data: st.DataObject
) -> None:
    zoom = DeepZoom(Size(width, height), tile_px)
    level = data.draw(st.integers(max(0, zoom.max_level - 4), zoom.max_level))
    size, (cols, rows) = zoom.size_zoom(level), zoom.n_tiles(level)
    boxes = [zoom.box_zoom(level, col, 0) for col in range(cols)]
    assert [box.x for box in boxes] == [0, *(box.right for box in boxes[:-1])]
    assert boxes[-1].right == size.width
    assert not any(box.is_empty for box in boxes)
    assert zoom.box_zoom(level, cols - 1, rows - 1).bottom == size.height
    for col, row in ((cols, 0), (0, rows), (-1, 0), (0, -1)):
        with pytest.raises(NotFoundError, match="no tile"):
            zoom.box_zoom(level, col, row)


@given(st.integers(0, 17))
def test_a_zoom_level_is_read_from_a_level_that_has_its_detail(power: int) -> None:
    sizes = (Size(120_000, 90_000), Size(30_000, 22_500), Size(7_499, 5_624))
    downsamples = ((1.0, 1.0), (4.0, 4.0), (16.0021, 16.0028))
    pyramid = Pyramid(sizes, downsamples, Box(100, 200, 100_000, 80_000), has_bounds=True)
    factor = 2**power
    plan = plan_zoom(pyramid, factor)
    down = downsamples[plan.level]
    assert min(plan.ratio) >= 0.999
    assert plan.ratio[0] * down[0] == pytest.approx(factor)
    assert plan.origin_level[1] * down[1] == pytest.approx(200)
    assert plan.level == (0 if factor < 4 else 1 if factor < 16 else 2)


@pytest.mark.parametrize("size", [Size(0, 5), Size(5, 0)])
def test_an_image_without_pixels_is_refused(size: Size) -> None:
    with pytest.raises(ValueError, match="have pixels"):
        DeepZoom(size)


def test_far_zoom_levels_of_a_slide_without_a_pyramid_come_from_the_thumbnail(
    own_run: Run,
) -> None:
    with Image.fromarray(np.full((4000, 6000, 3), 200, np.uint8)) as picture:
        picture.save(own_run.phantom.path)
    bind_again(own_run.out / "slides" / "case 1")
    server = TileServer(Catalog(own_run.out))
    entry = Catalog(own_run.out).entry("case 1")
    last = DeepZoom(Size(6000, 4000)).max_level
    seen = {2**n: _mean(server.tile(entry, last - n, 0, 0)) for n in (0, 1, 3, 4, 5)}
    # the stored thumbnail, 256 px wide, is of lighter glass than the slide
    is_thumbnail = {factor: mean > 210 for factor, mean in seen.items()}
    assert is_thumbnail == {1: False, 2: False, 8: False, 16: True, 32: True}
    (entry.folder / "thumbnail.jpg").unlink()
    assert _mean(TileServer(Catalog(own_run.out)).tile(entry, last - 3, 0, 0)) < 210


def test_the_picture_begins_where_the_scanned_bounds_do(tmp_path: Path, own_run: Run) -> None:
    bounds, hot = Box(1024, 512, 2048, 2048), Box(1536, 1024, 512, 512)
    phantom = write_phantom(
        tmp_path / "files" / "bounded.scn",
        size_l0=Size(4096, 3072),
        hot_box_l0=hot,
        mpp=1.0,
        bounds_l0=bounds,
    )
    folder = own_run.out / "slides" / "bounded"
    folder.mkdir()
    write_status(folder, Failed(slide=str(phantom.path)))
    catalog = Catalog(own_run.out)
    server, entry = TileServer(catalog), catalog.entry("bounded")
    reader = server.reader(entry)
    assert reader is not None
    assert reader.pyramid.bounds_l0 == bounds
    whole = server.tile(entry, DeepZoom(Size(2048, 2048)).max_level - 3, 0, 0)
    rgb = np.asarray(Image.open(BytesIO(whole))).astype(int)
    assert rgb.shape == (256, 256, 3)
    is_hot = rgb.sum(axis=2) < 400
    rows, cols = np.flatnonzero(is_hot.any(axis=1)), np.flatnonzero(is_hot.any(axis=0))
    assert (cols[0], cols[-1] + 1) == pytest.approx((64, 128), abs=1)
    assert (rows[0], rows[-1] + 1) == pytest.approx((64, 128), abs=1)


def test_cells_lie_on_the_picture_less_the_bounds_origin(own_run: Run) -> None:
    attributes = {**own_run.map_.attributes, "bounds_l0": [1000, 500, 3000, 2000]}
    map_ = replace(own_run.map_, origin_l0=(1000, 500), attributes=attributes)
    assert grid_facts(map_)["origin"] == [0, 0]
    assert grid_facts(replace(map_, origin_l0=(0, 0)))["origin"] == [-1000, -500]


def _mean(data: bytes) -> float:
    return float(np.asarray(Image.open(BytesIO(data))).mean())


def test_a_value_is_made_once_however_many_ask() -> None:
    cache: ByteBoundCache[str, bytes] = ByteBoundCache(1000, len)
    calls, go = [], threading.Event()

    def make() -> bytes:
        calls.append(1)
        go.wait(5)
        return b"x" * 10

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(cache.get_or_make, "a", make) for _ in range(8)]
        time.sleep(0.05)
        go.set()
        assert {future.result() for future in waiting} == {b"x" * 10}
    assert len(calls) == 1


def test_an_error_reaches_who_waits_and_is_not_remembered() -> None:
    cache: ByteBoundCache[str, bytes] = ByteBoundCache(1000, len)

    def broken() -> bytes:
        raise NotFoundError("gone")

    for _ in range(2):
        with pytest.raises(NotFoundError, match="gone"):
            cache.get_or_make("a", broken)
    assert cache.get_or_make("a", lambda: b"here") == b"here"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=60))
def test_the_cache_never_holds_more_than_its_bound(asked: list[tuple[int, int]]) -> None:
    cache: ByteBoundCache[tuple[int, int], bytes] = ByteBoundCache(100, len)
    for key in asked:
        assert len(cache.get_or_make(key, partial(bytes, key[1]))) == key[1]
        assert 0 <= cache.n_bytes <= 100


def test_what_was_used_last_stays() -> None:
    cache: ByteBoundCache[str, bytes] = ByteBoundCache(20, len)
    for key in "aab":
        cache.get_or_make(key, lambda: b"x" * 10)
    cache.get_or_make("a", lambda: b"")
    cache.get_or_make("c", lambda: b"x" * 10)
    assert cache.get_or_make("a", lambda: b"new") == b"x" * 10
    assert cache.get_or_make("b", lambda: b"new") == b"new"
