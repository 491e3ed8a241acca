"""The slides that the server has open: each is opened once, and none makes the others wait.

Opening runs decoders over a file that nobody has vouched for, and drives may stand still. Each
slide is opened in a thread of its own, few at a time; who asks for it waits a bounded time, and who
asks for another slide does not wait at all.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from typing import Final

from wsi_pipeline.errors import WsiPipelineError
from wsi_pipeline.slides import SlideReader
from wsi_pipeline.slides.source import SlideSource
from wsi_pipeline.web.errors import BusyError

OPEN_SLIDES: Final = 8
"""Each keeps up to 32 MB of decoded tiles of its own."""
OPENING_AT_ONCE: Final = 8
PATIENCE_SECONDS: Final = 15.0
REFUSAL_SECONDS: Final = 10.0
"""For so long a file that could not be opened is not tried again."""

_Key = tuple[SlideSource, tuple[int, int]]


class OpenSlides:
    """Readers by source. Safe between threads.

    What falls out is not closed, a thread may read from it: it closes with its last user.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._readers: OrderedDict[_Key, Future[SlideReader]] = OrderedDict()
        self._refused: dict[_Key, float] = {}
        self._opening = threading.BoundedSemaphore(OPENING_AT_ONCE)

    def __len__(self) -> int:
        """Return how many slides are open or being opened."""
        return len(self._readers)

    def get(self, source: SlideSource) -> SlideReader | None:
        """Return the open slide; None where it cannot be opened.

        Raises
        ------
        BusyError
            Where that takes too long, or too many others are being opened.
        """
        key = (source, source.stamp)
        future = self._future(key)
        if future is None:
            return None
        try:
            return future.result(self._patience_seconds)
        except TimeoutError:
            raise BusyError(
                "the slide's file takes long to be opened", "Try again in a minute"
            ) from None
        except (WsiPipelineError, OSError):
            return None

    def _future(self, key: _Key) -> Future[SlideReader] | None:
        with self._lock:
            known = self._readers.get(key)
            if known is not None:
                self._readers.move_to_end(key)
                return known
            if time.monotonic() < self._refused.get(key, 0.0):
                return None
            if not self._opening.acquire(blocking=False):
                raise BusyError("many slides are being opened", "Try again in a minute")
            future: Future[SlideReader] = Future()
            self._readers[key] = future
            self._let_go()
        threading.Thread(target=self._open, args=(key, future), daemon=True).start()
        return future

    def _let_go(self) -> None:
        """Forget what was used longest ago; what is being opened stays, so that it is found."""
        done = [key for key, future in self._readers.items() if future.done()]
        for key in done[: max(0, len(self._readers) - OPEN_SLIDES)]:
            del self._readers[key]

    def _open(self, key: _Key, future: Future[SlideReader]) -> None:
        try:
            future.set_result(key[0].open())
        except BaseException as error:  # noqa: BLE001 - it goes to those who wait
            with self._lock:
                self._readers.pop(key, None)
                now = time.monotonic()
                self._refused = {k: t for k, t in self._refused.items() if t > now}
                self._refused[key] = now + REFUSAL_SECONDS
            future.set_exception(error)
        finally:
            self._opening.release()
