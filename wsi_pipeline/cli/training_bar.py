"""How a training goes: a bar within each epoch, with patches/s and the time until all are done."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from wsi_pipeline.cli.printing import duration


class TrainingBar:
    """A progress bar on a terminal, nothing elsewhere: there the log has a line an epoch.

    Parameters
    ----------
    n_epochs : int
        Of the training; the bar says how long they take at the present speed.
    """

    def __init__(self, n_epochs: int) -> None:
        self._n_epochs, self._epoch = n_epochs, 0
        self._bar: Any = None
        self._start = 0.0
        self._has_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._close()

    def show(self, epoch: int, done: int, n_patches: int) -> None:
        """Show that so many patches of an epoch, counted from 1, are done."""
        if not self._has_terminal:
            return
        if epoch != self._epoch:
            self._begin(epoch, n_patches)
        left = remaining_seconds(
            time.perf_counter() - self._start, done, n_patches, self._n_epochs - epoch
        )
        self._bar.set_postfix_str(f"all epochs in {duration(left)}", refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= n_patches:
            self._close()

    def _begin(self, epoch: int, n_patches: int) -> None:
        from tqdm import tqdm

        self._close()
        self._epoch, self._start = epoch, time.perf_counter()
        self._bar = tqdm(
            total=n_patches,
            unit="patch",
            desc=f"epoch {epoch} of {self._n_epochs}",
            leave=False,
            file=sys.stderr,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def remaining_seconds(elapsed: float, done: int, n_patches: int, epochs_after: int) -> float:
    """Return the time until all epochs are done, at the speed of this one so far, without judging.

    Examples
    --------
    >>> remaining_seconds(10.0, 100, 400, 2)
    110.0
    """
    return elapsed / done * (n_patches - done + epochs_after * n_patches)
