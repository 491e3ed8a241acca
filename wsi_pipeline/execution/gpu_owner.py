"""The process that owns the machine's GPU for a run: started, started again, and ended."""

from __future__ import annotations

import logging
import multiprocessing
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from wsi_pipeline.classifier.engines.device import has_nvidia_device
from wsi_pipeline.classifier.engines.owned import OwnerAddress
from wsi_pipeline.classifier.engines.owner import Load, serve
from wsi_pipeline.execution.processes import end_with_parent

logger = logging.getLogger(__name__)

RESTARTS: Final = 3
"""Of an owner that dies; after them readers go on without."""


def wants_owner(device: str) -> bool:
    """Return whether processes of this machine share a GPU by an owner."""
    return sys.platform == "linux" and device in ("auto", "gpu") and has_nvidia_device()


@contextmanager
def gpu_owner(load: Load) -> Iterator[OwnerAddress]:
    """Run an owner of the GPU; give where readers reach it, from before it is ready.

    Parameters
    ----------
    load : callable
        Loads the model, in the owner's process: a module's function, or a partial.
    """
    folder = Path(tempfile.mkdtemp(prefix="wsi-owner-"))
    address = OwnerAddress(str(folder / "socket"), secrets.token_bytes(32))
    keeper = _Keeper(address, load)
    try:
        yield address
    finally:
        keeper.end()
        shutil.rmtree(folder, ignore_errors=True)


class _Keeper:
    """Starts the owner again where it dies; takes its socket away where that does not help."""

    def __init__(self, address: OwnerAddress, load: Load) -> None:
        self._address, self._load, self._is_over = address, load, threading.Event()
        _bind_nothing(address.path)
        self._process = self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _start(self) -> BaseProcess:
        context = multiprocessing.get_context("spawn")
        arguments = (self._address.path, self._address.key, self._load)
        process = context.Process(target=_be_owner, args=arguments, daemon=True, name="GPU owner")
        process.start()
        return process

    def _watch(self) -> None:
        for left in reversed(range(RESTARTS + 1)):
            self._process.join()
            if self._is_over.is_set():
                return
            words = "starting another" if left else "going on without"
            logger.warning("the GPU's owner died (%s): %s", self._process.exitcode, words)
            if left:
                self._process = self._start()
        Path(self._address.path).unlink(missing_ok=True)

    def end(self) -> None:
        """End the owner: nobody reads any more."""
        self._is_over.set()
        self._process.kill()
        self._process.join()


def _bind_nothing(path: str) -> None:
    """Put a socket there that refuses: readers wait for the owner rather than go without."""
    with socket.socket(socket.AF_UNIX) as placeholder:
        placeholder.bind(path)


def _be_owner(path: str, key: bytes, load: Load) -> None:
    end_with_parent()
    serve(path, key, load)
