#!/usr/bin/env python3
"""Write the bill of materials: what an installation consists of, as CycloneDX 1.6 JSON.

    sbom.py [-o sbom.json]

Versions and hashes are those of requirements.lock; licenses those that the installed packages state
(none where a package is not installed here, as those of other systems). The slide viewer that comes
with the package and the bundled models are listed too. The standard library alone.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+))?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def pins(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield name, version, marker and hashes of each pin of a lock file."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text):
        found = PIN.match(entry)
        if found:
            name, version, marker = found.groups()
            yield name, version, (marker or "").strip(), HASH.findall(entry)


def component(name: str, version: str, marker: str, hashes: list[str]) -> dict[str, Any]:
    """Return a package of Python; each hash is that of one of its files (wheels, source)."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    files = [
        {"type": "distribution", "url": f"pkg:pypi/{normal}@{version}",
         "hashes": [{"alg": "SHA-256", "content": content}]}
        for content in hashes
    ]  # fmt: skip
    license_ = license_of(name, version)
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{normal}@{version}",
        "name": normal,
        "version": version,
        "purl": f"pkg:pypi/{normal}@{version}",
        **({"licenses": [{"license": {"name": license_}}]} if license_ else {}),
        **({"externalReferences": files} if files else {}),
        **({"properties": [{"name": "marker", "value": marker}]} if marker else {}),
    }


def license_of(name: str, version: str) -> str:
    """Return what the installed package states, "" where that version is not installed."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return ""
    if found.version != version:
        return ""
    fields = found.metadata.json
    stated = str(fields.get("license_expression", ""))
    kinds = [str(kind) for kind in fields.get("classifier", [])]
    classes = [kind.split(" :: ")[-1] for kind in kinds if kind.startswith("License ::")]
    return stated or ", ".join(classes) or str(fields.get("license", "")).split("\n")[0][:80]


def viewer() -> dict[str, Any]:
    """Return the slide viewer, whose version and digest the package pins."""
    sys.path.insert(0, str(ROOT))
    from wsi_pipeline.web.vendor import INTEGRITY, PACKAGE

    name, version = PACKAGE.split("@")
    digest = base64.b64decode(INTEGRITY.removeprefix("sha512-")).hex()
    return {
        "type": "library",
        "bom-ref": f"pkg:npm/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:npm/{name}@{version}",
        "hashes": [{"alg": "SHA-512", "content": digest}],
        "licenses": [{"license": {"id": "BSD-3-Clause"}}],
    }


def models() -> Iterator[dict[str, Any]]:
    """Yield the bundled models, with the hashes of their weights."""
    for card in sorted((ROOT / "wsi_pipeline" / "classifier" / "models").glob("*/model.json")):
        record = json.loads(card.read_text(encoding="utf-8"))
        weights = sorted(p for p in card.parent.iterdir() if p.suffix in {".keras", ".tflite"})
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{card.parent.name}",
            "name": card.parent.name,
            "version": str(record.get("version") or record.get("sha256", ""))[:16] or "0",
            "components": [
                {
                    "type": "file",
                    "bom-ref": f"model:{card.parent.name}/{path.name}",
                    "name": path.name,
                    "hashes": [
                        {
                            "alg": "SHA-256",
                            "content": hashlib.sha256(path.read_bytes()).hexdigest(),
                        }
                    ],
                }
                for path in weights
            ],
        }


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """Return the bill of materials of a lock file and a project's table."""
    parts = [component(*pin) for pin in pins(lock)]
    unique = {part["bom-ref"]: part for part in [*parts, viewer(), *models()]}
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": now,
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "purl": own,
                "licenses": [{"license": {"id": project["license"]}}],
            },
        },
        "components": [unique[ref] for ref in sorted(unique)],
        "dependencies": [{"ref": own, "dependsOn": sorted(unique)}],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, help="default: standard output")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = json.dumps(bill(LOCK.read_text(encoding="utf-8"), project), indent=1) + "\n"
    if options.out is None:
        sys.stdout.write(text)
        return 0
    options.out.write_text(text, encoding="utf-8")
    print(f"{options.out}: {text.count('bom-ref')} parts")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
