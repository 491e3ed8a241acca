"""The GPU's benchmark goes all its ways without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.tensorflow
def test_it_ends_with_a_table_of_what_it_measures() -> None:
    # training takes a minute of CPU to compile: too dear for each run of the tests
    script = ROOT / "scripts" / "bench_gpu.py"
    done = subprocess.run(
        [sys.executable, script, "--device", "cpu", "--quick", "--parts", "slides", "arrays"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    head, table = done.stdout.split("| | measured")
    assert head.startswith("CPU, Keras")
    for words in ("first slide, cold", "3 slides", "from the host, batches of 32"):
        assert words in table
