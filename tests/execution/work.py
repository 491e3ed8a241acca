"""The plainest work for an executor, in a module that a process loads in no time."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import time
from pathlib import Path

from wsi_pipeline.execution.executor import SendProgress


def work_of_test(task: str, send_progress: SendProgress) -> str:
    """Do what a word says."""
    send_progress(task)
    if task == "crash":
        time.sleep(0.05)  # no decoder crashes before its message is out
        ctypes.string_at(0)
    if task == "unwatched":  # what no watchdog can end: a read of a drive that never answers
        faulthandler.cancel_dump_traceback_later()
        time.sleep(600)
    if task == "raise":
        raise ValueError("raised in the worker")
    if task.startswith("wait"):
        time.sleep(float(task[4:]))
    if task.startswith("mark"):
        Path(task[5:]).touch()
    return f"{task} by {os.getpid()}"
