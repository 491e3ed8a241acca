#!/usr/bin/env python3
"""Tell whether two output folders hold the same results, byte for byte.

    python scripts/compare_outputs.py BEFORE AFTER

What a change of the code must leave alone is compared: every file of the maps, patches.csv, and
regions.geojson but for its random ids and for fields that only one side has. Exit status 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

LIVELY = {"version", "created", "date"}  # what says when or by which version a file was made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    folders = sorted(path for path in (options.before / "slides").iterdir() if path.is_dir())
    differences = [
        line
        for folder in folders
        for line in compare_slide(folder, options.after / "slides" / folder.name)
    ]
    print("\n".join(differences) or f"{len(folders)} slides: no difference")
    return int(bool(differences))


def compare_slide(before: Path, after: Path) -> list[str]:
    """Return a line for each thing that differs between the results of a slide."""
    if not after.is_dir():
        return [f"{before.name}: missing"]
    files = [path for path in (before / "probability.zarr").rglob("*") if path.is_file()]
    files += [before / "patches.csv", before / "regions.geojson"]
    found = []
    for path in files:
        place = path.relative_to(before)
        if not path.exists():
            continue
        if not (after / place).exists():
            found.append(f"{before.name}: {place} is missing")
        elif _content(path) != _content(after / place, like=path):
            found.append(f"{before.name}: {place} differs")
    return found


def _content(path: Path, like: Path | None = None) -> Any:
    """Return what counts of a file: JSON without the fields that `like` does not have."""
    if path.suffix not in (".geojson", "") and path.name not in (".zattrs", "zarr.json"):
        return path.read_bytes()
    try:
        value = _without(json.loads(path.read_text()))
    except ValueError:
        return path.read_bytes()
    return value if like is None else _only(value, _without(json.loads(like.read_text())))


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in LIVELY}
    return [_without(item) for item in value] if isinstance(value, list) else value


def _only(value: Any, model: Any) -> Any:
    """Drop the keys that are new."""
    if isinstance(value, dict) and isinstance(model, dict):
        return {key: _only(item, model[key]) for key, item in value.items() if key in model}
    if isinstance(value, list) and isinstance(model, list) and len(value) == len(model):
        return [_only(item, other) for item, other in zip(value, model, strict=True)]
    return value


if __name__ == "__main__":
    sys.exit(main())
