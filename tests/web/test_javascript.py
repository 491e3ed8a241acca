"""The pages' scripts without a browser: types as their comments state them, and unit tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import check_javascript
import npm_tools
import pytest

from wsi_pipeline.web.vendor import VendorError

WEB = check_javascript.PROJECT.parent
UNITS = Path(__file__).parent / "js"


def faults(project: Path) -> str:
    try:
        return check_javascript.check(project).stdout
    except VendorError as error:
        pytest.skip(f"TypeScript cannot be fetched here: {error}")


def test_the_scripts_are_as_their_comments_say_and_a_fault_is_found(tmp_path: Path) -> None:
    for name in ("tsconfig.json", "types.d.ts"):
        shutil.copy(WEB / name, tmp_path / name)
    shutil.copytree(WEB / "static", tmp_path / "static", ignore=shutil.ignore_patterns("vendor"))
    with (tmp_path / "static" / "scale.js").open("a", encoding="utf-8") as script:
        script.write('niceLength("long");\n')
    (fault,) = faults(tmp_path / "tsconfig.json").splitlines()
    assert "static/scale.js" in fault
    assert "'string' is not assignable to parameter of type 'number'" in fault


def test_every_script_takes_part_in_the_check() -> None:
    scripts = sorted((WEB / "static").glob("*.js"))
    assert scripts
    assert [s.name for s in scripts if not s.read_text().startswith("// @ts-check\n")] == []


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.test.mjs")), ids=lambda path: path.name)
def test_units(path: Path) -> None:
    command = [*npm_tools.node_command(), "--test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 0" not in done.stdout
