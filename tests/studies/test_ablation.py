"""The ablation script: what is skipped, what is refused and what its table says."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import study_table

SCRIPT = Path(__file__).parents[2] / "scripts/studies/ablation.py"
SETTING = {"epochs": 8, "patients": 60, "per_patient": 100, "validation_per_patient": 200,
           "architecture": "compact-residual", "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="module")
def ablation() -> Any:
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _line(variant: str, seed: int, auc: float, **changes: Any) -> dict[str, Any]:
    scores = dict.fromkeys(
        ("balanced_accuracy", "f1", "auc_tta", "auc_jpeg", "auc_stains", "auc_blur", "auc_light"),
        0.5,
    )
    return {"variant": variant, "seed": seed, **SETTING, "auc": auc, **scores, **changes}


def _run(ablation: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ablation.py", *words])
    return int(ablation.main())


def test_a_gain_is_taken_seed_by_seed(ablation: Any) -> None:
    lines = [
        _line("focal loss", 0, 0.91), _line("focal loss", 1, 0.95), _line("base", 0, 0.90),
        _line("base", 1, 0.94), _line("MixUp 0.2", 5, 0.99),
    ]  # fmt: skip
    head, _, base, mixup, focal = ablation.table(lines).splitlines()
    assert head.split(" | ")[-1] == "AUC - base |"
    assert base.startswith("| base | 2 | 0.920 ± 0.028 |")
    assert focal.endswith("| +0.010 ± 0.000 |")
    assert mixup.endswith("| – |")  # no seed in common with the base


def test_what_is_done_is_not_done_again(
    ablation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "results.jsonl"
    done = [json.dumps(_line(name, 0, 0.9)) for name in ("base", "focal loss")]
    out.write_text("\n".join(done))
    kept = tmp_path / "ablation.md"
    kept.write_text(f"# By hand\n\n{study_table.BEGIN}\nan old table\n{study_table.END}\n")
    words = ["/nowhere", "-o", str(out), "--seeds", "0", "--variants", "base", "focal loss"]
    assert _run(ablation, monkeypatch, *words, "--table", str(kept)) == 0
    assert "| focal loss | 1 | 0.900 |" in capsys.readouterr().out
    assert "| focal loss | 1 | 0.900 |" in kept.read_text()
    assert (
        "compact-residual where a variant names no other, float32, 60 patients" in kept.read_text()
    )
    assert "an old table" not in kept.read_text()


def test_trainings_of_another_length_are_not_mixed(
    ablation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.jsonl"
    out.write_text(json.dumps(_line("base", 0, 0.9, epochs=2)) + "\n")
    with pytest.raises(SystemExit, match="trainings of another length"):
        _run(ablation, monkeypatch, "/nowhere", "-o", str(out))


def test_variants_without_their_files_are_left_out(
    ablation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(ablation, "_sides", lambda options: (None, None))
    monkeypatch.setattr(ablation, "changed_by", lambda condition, data: None)

    def run(job: dict[str, Any], *_: Any) -> dict[str, Any]:
        asked.append(job["variant"])
        return {}

    monkeypatch.setattr(ablation, "_run", run)
    monkeypatch.setattr(ablation, "table", lambda results: "")
    out = tmp_path / "results.jsonl"
    words = ["/nowhere", "-o", str(out), "--table", str(tmp_path / "table.md")]
    assert _run(ablation, monkeypatch, *words, "--seeds", "0") == 0
    assert "base" in asked
    assert {"distilled", "MobileNetV2, ImageNet"} == set(ablation.VARIANTS) - set(asked)
    assert _run(ablation, monkeypatch, *words, "--minutes", "0") == 0
    assert len(asked) == len(ablation.VARIANTS) - 2  # no time, nothing begun
