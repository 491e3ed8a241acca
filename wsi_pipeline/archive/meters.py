"""What a run measures while it goes: its queue, and how busy the GPUs are."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import Final, TypedDict

from wsi_pipeline.classifier.engines.device import has_nvidia_device

SAMPLE_SECONDS: Final = 5.0


class QueueFigures(TypedDict):
    """What a run's queue came to."""

    waiting_mean: float
    under_way_mean: float
    under_way_max: int


class GpuFigures(TypedDict):
    """How busy the GPUs were."""

    gpu_busy_share: float | None
    """None: nothing was measured."""


class QueueMeter:
    """How many slides wait and how many are under way: means over the time, and the most.

    Parameters
    ----------
    n_to_do : int
        Slides that wait when the run begins.
    """

    def __init__(self, n_to_do: int) -> None:
        self._waiting, self._under_way, self._most = n_to_do, 0, 0
        self._waiting_seconds = self._under_way_seconds = 0.0
        self._start = self._last = time.monotonic()

    def begun(self) -> None:
        """Take in that a slide has begun."""
        self._add_up()
        self._waiting, self._under_way = max(0, self._waiting - 1), self._under_way + 1
        self._most = max(self._most, self._under_way)

    def ended(self, *, has_begun: bool) -> None:
        """Take in that a slide has ended, or was found to need nothing."""
        self._add_up()
        if has_begun:
            self._under_way -= 1
        else:
            self._waiting = max(0, self._waiting - 1)

    def figures(self) -> QueueFigures:
        """Return the figures for the record."""
        self._add_up()
        seconds = max(self._last - self._start, 1e-6)
        return {
            "waiting_mean": round(self._waiting_seconds / seconds, 2),
            "under_way_mean": round(self._under_way_seconds / seconds, 2),
            "under_way_max": self._most,
        }

    def _add_up(self) -> None:
        now = time.monotonic()
        self._waiting_seconds += self._waiting * (now - self._last)
        self._under_way_seconds += self._under_way * (now - self._last)
        self._last = now


class GpuMeter:
    """Samples how busy this machine's NVIDIA GPUs are, where there are any.

    By `nvidia-smi`, which comes with the driver: the share of time in which a kernel ran, whoever
    started it.
    """

    def __init__(self) -> None:
        self._shares: list[float] = []
        command = shutil.which("nvidia-smi") if has_nvidia_device() else None
        self._is_over = threading.Event()
        if command:
            threading.Thread(target=self._sample, args=(command,), daemon=True).start()

    def figures(self) -> GpuFigures:
        """Return the mean share, None where nothing was measured: no data is not zero."""
        self._is_over.set()
        shares = self._shares
        return {"gpu_busy_share": round(sum(shares) / len(shares), 4) if shares else None}

    def _sample(self, command: str) -> None:
        ask = [command, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._is_over.is_set():
            try:
                done = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
                values = [float(line) / 100 for line in done.stdout.split()]
            except (OSError, ValueError, subprocess.SubprocessError):
                return
            self._shares.append(sum(values) / max(1, len(values)))
            self._is_over.wait(SAMPLE_SECONDS)
