"""Slides that crash, hang, eat memory or kill: what a real decoder does, by the slide's name.

`do_task` stands in for the real one in the processes of a run; it breaks one stage of the slide and
then calls the real one. The product knows nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import wsi_pipeline.classifier.request
import wsi_pipeline.pipeline.run
from tests.rule_classifier import RuleClassifier
from wsi_pipeline.archive import slide_task
from wsi_pipeline.archive.slide_task import SlideOutcome, SlideTask
from wsi_pipeline.classifier import ModelCard, load_classifier
from wsi_pipeline.errors import ReadError
from wsi_pipeline.execution.block_executor import BlockExecutor
from wsi_pipeline.execution.executor import SendProgress

STAGES = {
    "open": "require_mpp",
    "stain": "normalizer_of",
    "classify": "classify",
    "map": "assemble_map",
}
"""The function of the pipeline that a stage calls."""


def do_task(executor: BlockExecutor, task: SlideTask, send_progress: SendProgress) -> SlideOutcome:
    """Break what the slide's name says ("FAULT in STAGE") and do the slide."""
    fault, _, stage = task.job.slide_id.partition(" in ")
    name = STAGES.get(stage)
    if name is None:
        return slide_task.do_task(executor, task, send_progress)
    working = getattr(wsi_pipeline.pipeline.run, name)
    setattr(wsi_pipeline.pipeline.run, name, lambda *a, **k: FAULTS[fault](task, working, a, k))
    try:
        return slide_task.do_task(executor, task, send_progress)
    finally:
        setattr(wsi_pipeline.pipeline.run, name, working)


Fault = Callable[[SlideTask, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _segfault(*_: Any) -> None:
    ctypes.string_at(0)


def _abort(*_: Any) -> None:
    os.abort()


def _leave(*_: Any) -> None:
    os._exit(3)


def _sleep(*_: Any) -> None:
    time.sleep(600)


def _hold_the_interpreter(*_: Any) -> None:
    ctypes.PyDLL(None).sleep(600)  # unlike CDLL it keeps the lock: no thread of Python's can run


def _eat_memory(*_arguments: Any) -> None:
    eaten = []
    for _n in range(6):  # 1.6 GB: enough for the limit of the test, bearable for its machine
        eaten.append(b"\1" * (256 << 20))
        time.sleep(0.01)
    time.sleep(600)


def _is_killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_killed_once(
    task: SlideTask, working: Callable[..., Any], a: tuple[Any, ...], k: dict[str, Any]
) -> Any:
    marker = task.run.out / "was killed"
    if not marker.exists():
        marker.touch()
        _is_killed()
    return working(*a, **k)


def _write_to_the_slide(
    task: SlideTask, working: Callable[..., Any], a: tuple[Any, ...], k: dict[str, Any]
) -> Any:
    with task.job.source.path.open("ab") as file:
        file.write(b"more")
    return working(*a, **k)


def _raise(error: BaseException) -> Fault:
    def fault(*_: Any) -> None:
        raise error

    return fault


FAULTS: dict[str, Fault] = {
    "segfault": _segfault,
    "abort": _abort,
    "exit": _leave,
    "sleep": _sleep,
    "hold": _hold_the_interpreter,
    "memory": _eat_memory,
    "kill": _is_killed,
    "kill once": _is_killed_once,
    "no memory": _raise(MemoryError()),
    "stale handle": _raise(OSError(116, "Stale file handle")),
    "no permission": _raise(PermissionError(13, "Permission denied")),
    "changing": _write_to_the_slide,
    "drive gone": _raise(OSError(5, "Input/output error")),
    "defect": _raise(KeyError("surprise")),
    "read error": _raise(ReadError("tile 7 is damaged", "Copy it again")),
    "recursion": _raise(RecursionError("too deep")),
}


HANGS = {"sleep": "time.sleep(600)", "hold": "ctypes.PyDLL(None).sleep(600)"}
HANGING_RUN = """
import ctypes, sys, time
import wsi_pipeline.pipeline.blocks
from wsi_pipeline.cli.main import main
wsi_pipeline.pipeline.blocks.read_canvas = lambda *_: {hang}
sys.exit(main(sys.argv[1:]))
"""
"""A run in one process whose blocks hang: in Python, or in a decoder that lets nothing else run."""


def sleep_or_say(seconds: float) -> float:
    """Take a block's time."""
    time.sleep(seconds)
    return seconds


def pretend_gpu(dask_worker: Any) -> int:
    """Let a worker that declares a GPU have one; on others loading a model is a mistake."""

    def load(card: ModelCard, *, device: str, **more: Any) -> Any:
        if device != "gpu":
            return load_classifier(card, device=device, **more)
        if not dask_worker.state.total_resources:
            raise RuntimeError("a reader loads the model")
        rule = load_classifier(card, device="cpu", **more).predict
        return RuleClassifier(card, rule, f"GPU of process {os.getpid()}")

    setattr(wsi_pipeline.classifier.request, "load_classifier", load)  # noqa: B010 - typed otherwise
    return os.getpid()
