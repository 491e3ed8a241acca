"""A cache bound by bytes that makes each thing once, however many ask for it at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteBoundCache(Generic[Key, Value]):
    """Keeps what was used last, up to so many bytes. Safe between threads.

    Parameters
    ----------
    max_bytes : int
        What is kept at most. A single larger value is handed out but not kept.
    size_of : callable
        The bytes of a value.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._max_bytes, self._size_of = max_bytes, size_of
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._in_flight: dict[Key, Future[Value]] = {}
        self._lock = threading.Lock()
        self.n_bytes = 0

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key; where it is missing `make` is called once.

        Whoever asks while it is being made waits for it. An error goes to all who wait and is not
        remembered.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            mine: Future[Value] = Future()
            first = self._in_flight.setdefault(key, mine)
        return self._make(key, make, mine) if first is mine else first.result()

    def _make(self, key: Key, make: Callable[[], Value], mine: Future[Value]) -> Value:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._in_flight[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._in_flight[key]
            self._keep(key, value)
        mine.set_result(value)
        return value

    def _keep(self, key: Key, value: Value) -> None:
        size = self._size_of(value)
        if size > self._max_bytes:
            return
        self._values[key] = value
        self.n_bytes += size
        while self.n_bytes > self._max_bytes:
            _, oldest = self._values.popitem(last=False)
            self.n_bytes -= self._size_of(oldest)
