"""The one owner of a machine's GPU: many processes' patches, one model, full batches.

Readers take far longer for a patch than a GPU does, so that one GPU serves many. Each has a
stretch of memory that it shares with the owner; patches are written there, and only their number
travels. What several readers ask for at a time is classified together, so that batches are filled
across slides. A reader that dies takes its memory with it: it has no name to be left behind.
"""

from __future__ import annotations

import mmap
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import ProcessError, reduction
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any, Final

import numpy as np

from wsi_pipeline.classifier.card import ModelCard
from wsi_pipeline.classifier.classifier import PatchClassifier
from wsi_pipeline.geometry import FloatArray, RgbArray

PATCHES_AT_ONCE: Final = 16_384
"""Patches that are taken together at most, from whoever asks: some batches, to keep a GPU busy,
few enough that nobody waits long."""
MOST_WAITING: Final = 256
"""Readers that may connect while the model is loaded."""
Load = Callable[[], PatchClassifier]


@dataclass(slots=True, eq=False)
class _Asked:
    """Patches that somebody waits for."""

    patches: RgbArray
    done: threading.Event = field(default_factory=threading.Event)
    answer: Any = None
    """(probability, features, device), or the exception."""


class Owner(PatchClassifier):
    """Classifies what many threads ask for, together, by one model.

    Parameters
    ----------
    classifier : PatchClassifier
        Used by one thread alone.
    """

    def __init__(self, classifier: PatchClassifier) -> None:
        self._classifier, self._current = classifier, threading.local()
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._gathered: queue.Queue[list[_Asked]] = queue.Queue(1)
        for work in (self._gather, self._classify):  # one copies while the other's GPU computes
            threading.Thread(target=work, daemon=True, name="owner").start()

    @property
    def card(self) -> ModelCard:
        """What the model expects."""
        return self._classifier.card

    @property
    def device(self) -> str:
        """Where this thread's last patches were classified, else where the next ones will be."""
        return getattr(self._current, "device", self._classifier.device)

    def predict_features(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None]:
        """Return probabilities (N,), and features (N, n) where the network gives any."""
        probability, features, self._current.device = self.answer(patches)
        return probability, features

    def answer(self, patches: RgbArray) -> tuple[FloatArray, FloatArray | None, str]:
        """Return probabilities, features and the device that they come from."""
        asked = _Asked(patches)
        self._asked.put(asked)
        asked.done.wait()
        if isinstance(asked.answer, Exception):
            raise asked.answer
        found: tuple[FloatArray, FloatArray | None, str] = asked.answer
        return found

    def _gather(self) -> None:
        while True:
            together = [self._asked.get()]
            n_patches = len(together[0].patches)
            with suppress(queue.Empty):
                while n_patches < PATCHES_AT_ONCE:
                    together.append(self._asked.get_nowait())
                    n_patches += len(together[-1].patches)
            self._gathered.put(together)  # waits for its turn: meanwhile more is asked for

    def _classify(self) -> None:
        while True:
            together = self._gathered.get()
            try:
                patches = np.concatenate([asked.patches for asked in together])
                probability, features = self._classifier.predict_features(patches)
                device, start = self._classifier.device, 0
                for asked in together:
                    part = slice(start, start + len(asked.patches))
                    asked.answer = (
                        probability[part],
                        None if features is None else features[part],
                        device,
                    )
                    start = part.stop
            except Exception as error:  # noqa: BLE001 - raised where they wait for it
                for asked in together:
                    asked.answer = error
            for asked in together:
                asked.done.set()


def serve(address: str, key: bytes, load: Load) -> None:
    """Be the owner's process: load the model, then answer whoever connects, until killed.

    Parameters
    ----------
    address : str
        Path of the socket.
    key : bytes
        What readers prove that they are of this run by.
    load : callable
        Loads the model; readers are told its error where it has one.
    """
    with Listener(f"{address}.new", "AF_UNIX", MOST_WAITING, authkey=key) as listener:
        Path(f"{address}.new").replace(address)  # at no time is there no socket
        try:
            owner: Owner | Exception = Owner(load())
        except Exception as error:  # noqa: BLE001 - raised in the readers
            owner = error
        while True:
            try:
                connection = listener.accept()
            except (OSError, EOFError, ProcessError):  # it died, or does not know the key
                continue
            threading.Thread(target=_attend, args=(connection, owner), daemon=True).start()


def _attend(connection: Connection[Any, Any], owner: Owner | Exception) -> None:
    """Answer one reader until it goes."""
    with connection, suppress(OSError, EOFError):
        if isinstance(owner, Exception):
            connection.send(owner)
            return
        connection.send(owner.device)
        shape = connection.recv()
        descriptor = reduction.recv_handle(connection)
        shared = mmap.mmap(descriptor, 0)
        os.close(descriptor)
        patches = np.frombuffer(shared, np.uint8).reshape(shape)
        while True:
            n_patches = connection.recv()
            try:
                connection.send(owner.answer(patches[:n_patches]))
            except (OSError, EOFError):
                raise
            except Exception as error:  # noqa: BLE001 - raised in the reader
                connection.send(error)
