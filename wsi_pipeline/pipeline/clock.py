"""What stage a slide is in, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class StageClock:
    """Times the stages of a slide and knows which one is running."""

    seconds: dict[str, float] = field(default_factory=dict)
    current: str = "open"
    entered: Callable[[str], None] | None = None
    """Told of each stage that begins."""

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; after an error `current` still names it."""
        self.current = stage
        if self.entered:
            self.entered(stage)
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + elapsed, 4)
