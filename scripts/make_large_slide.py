#!/usr/bin/env python3
"""Blow a slide or picture up to a large Aperio-like slide, for measurements of speed and memory.

The source is enlarged to the wanted µm/px, mirrored until it fills the size, given a sensor's noise
(or it would compress and decode too easily) and stored as JPEG tiles, quality 80, 4:2:0. Memory
stays bounded: one strip of tiles at a time, the reduced levels in a scratch file.

    make_large_slide.py ../shared/data/slides/breast-lobular-10x.svs /tmp/large.svs
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image

TILE_PX = 256
JPEG_QUALITY = 80
NOISE_LEVELS = 2.5
STRIPS_AHEAD = 3

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Enlargement:
    """The source, enlarged and mirrored to the wanted size."""

    source: openslide.AbstractSlide
    zoom: float
    width: int
    height: int
    noise: NDArray[np.int16]

    def strip(self, top: int) -> Picture:
        """Return rows [top, top + TILE_PX) of the large picture."""
        bottom = min(top + TILE_PX, self.height)
        copy_height = int(self.source.dimensions[1] * self.zoom)
        edges = [top, *range((top // copy_height + 1) * copy_height, bottom, copy_height), bottom]
        rows = [self._rows(start, stop, copy_height) for start, stop in itertools.pairwise(edges)]
        wide = _mirror(np.concatenate(rows), self.width)
        noisy = wide + np.roll(self.noise, 37 * top, axis=1)[: wide.shape[0], : self.width]
        return np.asarray(np.clip(noisy, 0, 255), np.uint8)

    def _rows(self, start: int, stop: int, copy_height: int) -> Picture:
        """Return rows that lie in one copy of the source, its odd copies upside down."""
        number, first = divmod(start, copy_height)
        last = first + stop - start
        if number % 2:
            return self._enlarge(copy_height - last, copy_height - first)[::-1]
        return self._enlarge(first, last)

    def _enlarge(self, first: int, last: int) -> Picture:
        source_width = min(self.source.dimensions[0], int(self.width / self.zoom) + 1)
        low, high = first / self.zoom, last / self.zoom
        top, bottom = max(int(low) - 2, 0), min(int(high) + 3, self.source.dimensions[1])
        region = self.source.read_region((0, top), 0, (source_width, bottom - top))
        glass = Image.new("RGB", region.size, "white")
        glass.paste(region, mask=region.getchannel("A"))
        size = (int(source_width * self.zoom), last - first)
        box = (0, low - top, source_width, min(high - top, bottom - top))
        return np.asarray(glass.resize(size, Image.Resampling.BICUBIC, box=box))


def main() -> None:
    arguments = _parse()
    source = openslide.open_slide(arguments.source)
    zoom = arguments.zoom or _zoom(source, arguments.mpp)
    width, height = arguments.size
    rng = np.random.default_rng(0)
    noise = rng.normal(0, NOISE_LEVELS, (TILE_PX, width + TILE_PX, 1)).astype(np.int16)
    large = Enlargement(source, zoom, width, height, noise)
    part = arguments.out.with_name(f".{arguments.out.name}.part")
    with TemporaryDirectory(dir=arguments.out.parent) as scratch:
        _write(part, large, arguments.levels, arguments.mpp, Path(scratch) / "level")
    part.replace(arguments.out)
    print(f"{arguments.out}: {width} x {height} px, {arguments.mpp} µm/px, zoom {zoom:.3f}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="slide or picture")
    parser.add_argument("out", type=Path, help="the slide to write, .svs or .tif")
    parser.add_argument("--size", type=_size, default=(53000, 47000), metavar="WIDTHxHEIGHT")
    parser.add_argument("--levels", type=_levels, default=(1, 4, 16), metavar="1,4,16")
    parser.add_argument("--mpp", type=float, default=0.5, help="µm/px to write")
    parser.add_argument("--zoom", type=float, help="enlarge so much, whatever the source's µm/px")
    return parser.parse_args()


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


def _levels(text: str) -> tuple[int, ...]:
    levels = tuple(int(level) for level in text.split(","))
    if levels[0] != 1 or any(b <= a or b % a for a, b in itertools.pairwise(levels)):
        raise argparse.ArgumentTypeError("levels start at 1, each a multiple of the one before")
    return levels


def _zoom(source: openslide.AbstractSlide, mpp: float) -> float:
    stated = source.properties.get("openslide.mpp-x")
    return float(stated) / mpp if stated else 1.0


def _write(
    path: Path, large: Enlargement, levels: tuple[int, ...], mpp: float, scratch: Path
) -> None:
    """Write level 0 strip by strip, reducing each strip on the way, then the other levels."""
    n_extra = len(levels) - 1
    ratio = levels[1] if n_extra else TILE_PX
    reduced = np.memmap(
        scratch,
        np.uint8,
        "w+",
        shape=(max(large.height // ratio, 1), max(large.width // ratio, 1), 3),
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        shape = (large.height, large.width, 3)
        _write_level(tif, _tiles(_strips(large, reduced, ratio)), shape, mpp, 0)
        for number in range(1, n_extra + 1):
            if number > 1:
                step = levels[number] // levels[number - 1]
                reduced = _reduce(reduced, step)  # type: ignore[assignment]
            strips = (reduced[top : top + TILE_PX] for top in range(0, len(reduced), TILE_PX))
            _write_level(tif, _tiles(strips), reduced.shape, mpp * levels[number], number)


def _write_level(
    tif: tifffile.TiffWriter,
    tiles: Iterator[Picture],
    shape: tuple[int, ...],
    mpp: float,
    number: int,
) -> None:
    height, width = shape[:2]
    tif.write(
        tiles,
        shape=shape,
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": JPEG_QUALITY},
        subsampling=(2, 2),
        resolution=(1e4 / mpp,) * 2,
        resolutionunit="CENTIMETER",
        description=(
            f"Aperio-like slide made for measurements\r\n{width}x{height} ({TILE_PX}x{TILE_PX}) "
            f"JPEG/RGB Q={JPEG_QUALITY}|AppMag = {10 / mpp:g}|MPP = {mpp:g}"
        )
        if number == 0
        else None,
        metadata=None,
        maxworkers=os.cpu_count(),
    )


def _strips(large: Enlargement, reduced: Picture, ratio: int) -> Iterator[Picture]:
    """Yield the strips of level 0, made ahead by threads; fill the reduced level on the way."""
    waiting: deque[Future[Picture]] = deque()
    carried = np.zeros((0, large.width, 3), np.uint8)
    row = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tops = iter(range(0, large.height, TILE_PX))
        waiting.extend(
            pool.submit(large.strip, top) for top in itertools.islice(tops, STRIPS_AHEAD)
        )
        while waiting:
            strip = waiting.popleft().result()
            waiting.extend(pool.submit(large.strip, top) for top in itertools.islice(tops, 1))
            carried = np.concatenate([carried, strip]) if len(carried) else strip
            small = _reduce(carried, ratio)[: len(reduced) - row]
            reduced[row : row + len(small)] = small[:, : reduced.shape[1]]
            row += len(small)
            carried = carried[len(carried) // ratio * ratio :]
            yield strip


def _tiles(strips: Iterator[Picture]) -> Iterator[Picture]:
    """Cut strips into tiles, the last ones filled up with their edge."""
    for strip in strips:
        rows, width = strip.shape[:2]
        missing = ((0, TILE_PX - rows), (0, -width % TILE_PX), (0, 0))
        full = np.pad(strip, missing, mode="edge")
        for left in range(0, width, TILE_PX):
            yield np.ascontiguousarray(full[:, left : left + TILE_PX])


def _reduce(picture: Picture, ratio: int) -> Picture:
    """Average squares of `ratio` pixels; what does not fill a square is dropped, as scanners do."""
    height, width = picture.shape[0] // ratio, picture.shape[1] // ratio
    if not (height and width):
        return np.zeros((height, width, 3), np.uint8)
    image = Image.fromarray(np.asarray(picture[: height * ratio, : width * ratio]))
    return np.asarray(image.reduce(ratio))


def _mirror(picture: Picture, width: int) -> Picture:
    """Widen a picture by mirroring it to and fro."""
    while picture.shape[1] < width:
        picture = np.concatenate([picture, picture[:, ::-1]], axis=1)
    return picture[:, :width]


if __name__ == "__main__":
    main()
