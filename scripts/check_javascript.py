#!/usr/bin/env python3
"""Check the types of the pages' scripts, which JSDoc comments state, with TypeScript's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import npm_tools

from wsi_pipeline.web.vendor import VendorError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "wsi_pipeline" / "web" / "tsconfig.json"


def check(project: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """Run the compiler on a project; its output names each fault.

    Raises
    ------
    VendorError
        Where TypeScript cannot be brought.
    """
    compiler = npm_tools.bring(npm_tools.TYPESCRIPT) / "tsc.js"
    command = [*npm_tools.node_command(), str(compiler), "--project", str(project)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    try:
        done = check()
    except VendorError as error:
        print(f"TypeScript cannot be brought: {error}", file=sys.stderr)
        return 1
    print(done.stdout or f"{npm_tools.TYPESCRIPT.package} finds no fault")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
