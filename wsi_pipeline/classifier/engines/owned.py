"""A reader's side of the GPU's owner, see `wsi_pipeline.classifier.engines.owner`."""

from __future__ import annotations

import logging
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import AuthenticationError, reduction
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_pipeline.classifier.card import ModelCard, read_card
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.errors import ModelError
from wsi_pipeline.geometry import FloatArray, RgbArray

logger = logging.getLogger(__name__)

SHARED_BYTES: Final = 16 * 2**20
"""Of memory that a reader's thread shares with the owner: 2,200 patches of 50 px."""
LOOK_SECONDS: Final = 0.05
TRIES: Final = 3
"""Owners that may die over the same patches before they are classified here."""


@dataclass(frozen=True, slots=True)
class OwnerAddress:
    """Where the owner of the GPU is reached: plain data that travels to every reader."""

    path: str
    """Of its socket; it is gone when there is no owner any more, nor will be."""
    key: bytes


class OwnedClassifier(PatchClassifier):
    """The model of the machine's owner of the GPU. Safe between threads.

    Parameters
    ----------
    address : OwnerAddress
    folder : Path
        Of the model.
    load_here : callable
        Loads the model into this process and off the GPU, where the owner cannot be had.
    only_owner : bool
        Where the owner has no GPU, raise what it says rather than load the model here.
    """

    def __init__(
        self,
        address: OwnerAddress,
        folder: Path,
        load_here: Callable[[], PatchClassifier],
        *,
        only_owner: bool = False,
    ) -> None:
        self._address, self._card, self._only_owner = address, read_card(folder), only_owner
        self._idle: deque[_Line] = deque()
        self._current = threading.local()
        self._loading = threading.Lock()
        self._here = lru_cache(maxsize=1)(load_here)

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._card

    @property
    def device(self) -> str:
        """Where this thread's last patches were classified, else where the owner's would be."""
        if not hasattr(self._current, "device"):
            try:
                line = self._line()
            except _NoOwnerError:
                return self._load_here().device
            self._idle.append(line)
            return line.device
        return str(self._current.device)

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        for _ in range(TRIES):
            try:
                return self._by_owner(patches)
            except (EOFError, OSError) as error:
                self._idle.clear()  # those to the same owner are as dead
                logger.warning("the GPU's owner does not answer (%s)", type(error).__name__)
            except _NoOwnerError:
                break
        engine = self._load_here()
        found = engine.predict_features(patches)
        self._current.device = engine.device
        return found

    def _by_owner(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        line = self._line()
        found = line.ask(patches)
        self._idle.append(line)  # not after an error: the next request begins afresh
        parts, self._current.device = found, found[-1][2]
        probability = np.concatenate([part[0] for part in parts])
        features = [part[1] for part in parts if part[1] is not None]
        return probability, np.concatenate(features) if features else None

    def _line(self) -> _Line:
        try:
            return self._idle.popleft()
        except IndexError:
            pass
        try:
            return _Line(self._address, self._card.patch_size_px)
        except _NoOwnerError as error:
            if self._only_owner and isinstance(error.__cause__, ModelError):
                raise error.__cause__ from None
            raise

    def _load_here(self) -> PatchClassifier:
        with self._loading:
            return self._here()


class _NoOwnerError(Exception):
    """There is no owner, nor will there be one."""


class _Line:
    """A connection with its shared memory, for one thread at a time."""

    def __init__(self, address: OwnerAddress, side_px: int) -> None:
        n_patches = max(1, SHARED_BYTES // (3 * side_px**2))
        shape = (n_patches, side_px, side_px, 3)
        self._connection = _connected(address)
        greeting = self._connection.recv()
        if isinstance(greeting, Exception):
            raise _NoOwnerError(str(greeting)) from greeting
        self.device = str(greeting)
        descriptor = os.memfd_create("patches")
        try:
            os.ftruncate(descriptor, int(np.prod(shape)))
            self._patches = np.frombuffer(mmap.mmap(descriptor, 0), np.uint8).reshape(shape)
            self._connection.send(shape)
            reduction.send_handle(self._connection, descriptor, None)
        finally:
            os.close(descriptor)

    def ask(self, patches: RgbArray) -> list[tuple[FloatArray, FloatArray | None, str]]:
        """Return the owner's answers, one for each part that fits the memory."""
        answers = []
        for start in range(0, max(1, len(patches)), len(self._patches)):
            part = patches[start : start + len(self._patches)]
            self._patches[: len(part)] = part
            self._connection.send(len(part))
            answer = self._connection.recv()
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers


def _connected(address: OwnerAddress) -> Any:
    """Return a connection; wait for an owner that is still starting, or starting again."""
    while True:
        try:
            return Client(address.path, "AF_UNIX", authkey=address.key)
        except (ConnectionError, EOFError):
            time.sleep(LOOK_SECONDS)
        except (FileNotFoundError, AuthenticationError) as error:
            raise _NoOwnerError(str(error)) from error
