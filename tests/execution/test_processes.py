"""Supervised processes, with work that has nothing to do with slides."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.execution.work import work_of_test
from wsi_pipeline.execution.executor import Executor, Lost
from wsi_pipeline.execution.processes import ProcessExecutor


def results_of(executor: Executor, tasks: list[str]) -> tuple[dict[str, str | Lost], list[str]]:
    results: dict[str, str | Lost] = {}
    messages: list[str] = []

    def send_progress(task: str, message: str) -> None:
        assert task == message
        messages.append(message)

    executor.run(work_of_test, tasks, results.__setitem__, send_progress)
    return results, messages


def test_a_crash_costs_one_process() -> None:
    tasks = ["a", "crash", *map(str, range(20))]
    results, _ = results_of(ProcessExecutor(2), tasks)
    pids = {str(result).split()[-1] for task, result in results.items() if task != "crash"}
    assert str(os.getpid()) not in pids
    assert len(pids) <= 3, "two, and one in the place of the one that crashed"


def test_no_task_starts_no_process() -> None:
    before = psutil.Process().children()
    assert results_of(ProcessExecutor(4), []) == ({}, [])
    assert psutil.Process().children() == before


def test_processes_end_when_the_run_is_killed(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        from tests.execution.work import work_of_test
        from wsi_pipeline.execution.processes import ProcessExecutor
        if __name__ == "__main__":
            say = lambda task, message: print("begun", flush=True)
            ProcessExecutor(1).run(work_of_test, ["wait60"], print, say)
    """)
    script = tmp_path / "run.py"
    script.write_text(code)
    root = str(Path(__file__).parents[2])
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"begun\n"
    children = psutil.Process(run.pid).children()
    run.kill()
    run.wait()
    run.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert children
    assert not alive
