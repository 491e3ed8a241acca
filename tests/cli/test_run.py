"""The command `run`, as users and scripts meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PhantomFactory
from wsi_pipeline.cli.main import main
from wsi_pipeline.geometry import Box, Size

MODEL = str(Path(__file__).parents[1] / "models" / "darkness")
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "wsi_pipeline", "run")


@pytest.fixture
def slides(tmp_path: Path, phantom_factory: PhantomFactory) -> Path:
    """Return a folder of two small slides."""
    (tmp_path / "in").mkdir()
    for name in "ab":
        size, hot = Size(2048, 1536), Box(400 if name == "a" else 800, 400, 400, 400)
        phantom_factory(f"in/{name}.tif", size_l0=size, hot_box_l0=hot)
    return tmp_path / "in"


def run(*words: str | Path, model: str = MODEL) -> int:
    return main(["run", *map(str, words), "--model", model])


def map_bytes(out: Path) -> dict[str, bytes]:
    root = out / "slides"
    files = (p for p in sorted(root.glob("*/probability.zarr/**/*")) if p.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def state(out: Path, slide_id: str) -> str:
    return str(json.loads((out / "slides" / slide_id / "status.json").read_text())["state"])


def test_all_done_is_0_and_the_results_are_named(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(slides / "a.tif", "-o", out) == 0
    printed = capsys.readouterr().out
    for name in ("overlay.png", "probability.zarr", "regions.geojson", "patches.csv"):
        assert (out / "slides" / "a" / name).exists()
        assert str(out / "slides" / "a" / name) in printed
    assert "Research use only" in printed
    why = "cannot be known: the model's card does not say what is familiar"
    assert f"note: familiarity to the model {why}" in printed
    assert (out / "index.html").exists()


def test_some_failed_is_1_and_says_which_and_why(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "bad.tif").write_bytes(b"no slide")
    out = tmp_path / "out"
    assert run(slides, "-o", out, "--outputs", "map", "-j", "1") == 1
    printed = capsys.readouterr().out
    assert "bad: FAILED in open" in printed
    assert "2 done, 0 empty, 1 failed" in printed
    assert run(slides, "-o", out, "--outputs", "map") == 1, "it is still not done"
    printed = capsys.readouterr().out
    assert "bad: failed before" in printed
    assert "--retry-failed" in printed
    assert "a: finished before, skipped" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.svs"], "there is no"),
        (["SLIDES", "--model", "nothing"], "nothing"),
        (["SLIDES", "--stride", "7"], "does not divide"),
        (["SLIDES", "--threshold", "2"], "regions.threshold is 2"),
        (["SLIDES", "-c", "nowhere.yaml"], "cannot be read"),
        (["SLIDES", "--mask", "nowhere.geojson"], "nowhere.geojson"),
        (["SLIDES", "--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers"),
    ],
    ids=["input", "model", "stride", "threshold", "config", "mask", "scheduler"],
)
def test_wrong_usage_is_2_with_words_and_nothing_is_touched(
    slides: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.setattr("wsi_pipeline.execution.backend.ANSWER_SECONDS", 1)
    words = [str(slides) if word == "SLIDES" else word for word in words]
    model = [] if "--model" in words else ["--model", MODEL]
    assert main(["run", *words, *model, "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_an_option_that_does_not_exist_is_2(slides: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(slides, "-o", tmp_path / "out", "--stryde", "25")
    assert stopped.value.code == 2


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (slides / "bad.tif").write_bytes(b"no slide")
    before = sorted(tmp_path.rglob("*"))
    assert run(slides, "-o", tmp_path / "out", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "a: 20 patches of a 4 x 5 grid" in printed or "a: 24 patches" in printed
    assert "1 µm/px (tiff.XResolution)" in printed
    assert "bad: would fail" in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_log_lines_are_json_with_one_run_id(slides: Path, tmp_path: Path) -> None:
    (slides / "bad.tif").write_bytes(b"no slide")
    out = tmp_path / "out"
    done = subprocess.run(
        [*COMMAND, slides, "-o", out, "--model", MODEL, "--outputs", "map", "--log-json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    run_id = json.loads((out / "run.json").read_text())["run_id"]
    assert {line["run_id"] for line in lines} == {run_id}
    ended = {
        line["slide_id"]: line["state"] for line in lines if line["message"] == "slide finished"
    }
    assert ended == {"a": "done", "b": "done", "bad": "failed"}
    assert {line["message"] for line in lines} >= {"run started", "slide started"}


def small_blocks(out: Path, isolation: str = "threads", tiling: str = "") -> Path:
    config = out.with_name(f"small_blocks_{isolation}.yaml")
    config.write_text(f"execution: {{block_px: 256, isolation: {isolation}}}\n{tiling}")
    return config


def started(slides: Path, out: Path, *words: str, tiling: str = "") -> subprocess.Popen[bytes]:
    """Start a real run of small blocks in processes of its own."""
    config = small_blocks(out, "processes", tiling)
    return subprocess.Popen(
        [*COMMAND, slides, "-o", out, "--model", MODEL, "--outputs", "map", "-c", config, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
        # Tests that a shell starts in the background inherit that an interrupt is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(out: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    while not list(out.glob(pattern)) and process.poll() is None:
        time.sleep(0.002)


MOMENTS = ("run.json", "slides/a/status.json", "slides/*/working/block_*", "slides/*/*.zarr*")


@pytest.mark.parametrize(
    ("tiling", "moments"),
    [
        ("", MOMENTS),
        ("tiling: {border_step: 2}\n", ("slides/*/working/block_*", "slides/*/working/pass_2")),
    ],
    ids=["plain", "borders"],
)
def test_runs_that_are_killed_again_and_again_end_as_if_undisturbed(
    slides: Path, tmp_path: Path, tiling: str, moments: tuple[str, ...]
) -> None:
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    config = tmp_path / "large_blocks.yaml"
    config.write_text(tiling or "{}")
    assert run(slides, "-o", undisturbed, "--outputs", "map", "-c", config) == 0
    for moment in moments:
        process = started(slides, out, tiling=tiling)
        wait_for(out, moment, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    config = small_blocks(out, tiling=tiling)
    assert run(slides, "-o", out, "--outputs", "map", "-c", config) == 0
    assert map_bytes(out) == map_bytes(undisturbed)
    assert not list(out.glob("slides/*/working"))
    assert not list(out.rglob("*.part"))


def test_an_interrupt_is_130_and_the_next_run_goes_on(
    slides: Path, tmp_path: Path, phantom_factory: PhantomFactory
) -> None:
    for number, name in enumerate("cdefghijkl"):  # enough to be at work when the interrupt comes
        hot = Box(400 + 40 * number, 400, 400, 400)
        phantom_factory(f"in/{name}.tif", size_l0=Size(2048, 1536), hot_box_l0=hot)
    out = tmp_path / "out"
    process = started(slides, out)
    wait_for(out, "slides/*/working/block_*", process)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: every process of the run
    assert process.wait(30) == 130
    assert json.loads((out / "run.json").read_text())["state"] == "interrupted"
    states = {state(out, name) for name in "abcdefghijkl"}
    assert "running" not in states
    assert "queued" in states
    assert run(slides, "-o", out, "--outputs", "map", "-c", small_blocks(out)) == 0
    assert {state(out, name) for name in "abcdefghijkl"} == {"done"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_next_run_finishes(
    slides: Path, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    out = small_disk / "out"
    words = (slides, "-o", out, "--outputs", "map")
    for _ in range(200):  # until nothing more fits
        if run(*words, "--overwrite") != 0:
            break
        ballast.write_bytes(bytes(ballast.stat().st_size + 8_000))
    assert "disk is full" in capsys.readouterr().err
    ballast.unlink()
    assert run(*words) == 0
    undisturbed = tmp_path / "undisturbed"
    assert run(slides, "-o", undisturbed, "--outputs", "map") == 0
    assert map_bytes(out) == map_bytes(undisturbed)


def test_a_read_only_output_folder_is_said(
    slides: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert run(slides, "-o", small_disk / "out") == 1
    assert "read-only" in capsys.readouterr().err
