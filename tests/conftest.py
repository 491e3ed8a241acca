"""Fixtures that every room's tests may use."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.phantoms import Phantom, write_phantom
from wsi_pipeline.geometry import Box, Size

settings.register_profile("no time limits", deadline=None)
settings.load_profile("no time limits")

PhantomFactory = Callable[..., Phantom]


def pytest_configure() -> None:
    """Have a SIGTERM end what fixtures have started too, as Ctrl-C does: Dask's commands go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def phantom_factory(tmp_path: Path) -> PhantomFactory:
    """Write phantoms: 4096 x 3072 px at 1 µm/px with a hot box of 800 px, unless told otherwise."""

    def make(name: str = "phantom.tif", **changes: Any) -> Phantom:
        standard: dict[str, Any] = {
            "size_l0": Size(4096, 3072),
            "hot_box_l0": Box(1600, 800, 800, 800),
            "mpp": 1.0,
        }
        return write_phantom(tmp_path / name, **(standard | changes))

    return make
