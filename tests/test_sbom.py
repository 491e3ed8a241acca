"""The bill of materials: every pin of the lock with its hashes, the viewer and the models."""

import json
import re
import subprocess
import sys
from pathlib import Path

import sbom

LOCK = """\
# a comment
absl-py==2.5.1 \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
uvicorn[standard]==0.54.0 ; sys_platform != 'win32' \\
    --hash=sha256:{0}
""".format("a" * 64, "b" * 64)
PROJECT = {"name": "wsi-pipeline", "version": "0.1.0", "license": "Apache-2.0"}


def test_pins_are_read_with_markers_and_hashes() -> None:
    assert list(sbom.pins(LOCK)) == [
        ("absl-py", "2.5.1", "", ["a" * 64, "b" * 64]),
        ("uvicorn", "0.54.0", "sys_platform != 'win32'", ["a" * 64]),
    ]


def test_the_bill_names_every_part_once() -> None:
    bill = sbom.bill(LOCK, PROJECT)
    refs = [part["bom-ref"] for part in bill["components"]]
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert len(refs) == len(set(refs))
    assert {"pkg:pypi/absl-py@2.5.1", "pkg:pypi/uvicorn@0.54.0", "model:idc-compact"} <= set(refs)
    assert any(ref.startswith("pkg:npm/openseadragon@") for ref in refs)
    assert bill["dependencies"][0]["dependsOn"] == sorted(refs)


def test_one_command_writes_it_for_the_lock_that_is_there(tmp_path: Path) -> None:
    script = Path(sbom.__file__)
    path = tmp_path / "sbom.json"
    subprocess.run([sys.executable, script, "-o", path], check=True, capture_output=True)
    bill = json.loads(path.read_text())
    lock = (script.parent.parent / "requirements.lock").read_text()
    n_pins = len(re.findall(r"^[A-Za-z0-9].*==", lock, re.MULTILINE))
    packages = [part for part in bill["components"] if part["bom-ref"].startswith("pkg:pypi")]
    assert len(packages) <= n_pins
    assert len(packages) > 50
    assert all(part["externalReferences"] for part in packages)
