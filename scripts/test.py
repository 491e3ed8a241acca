#!/usr/bin/env python3
"""Set up the environment if need be, then lint, check types and import rules, and test.

With pytest arguments only pytest runs, with these: `test.py tests/slides -k pyramid`.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import bootstrap

# Two processes, a file's tests in one of them; the files in their order, slow ones not last.
WHOLE_SUITE = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", "--cov")
IMPORT_RULES = "from importlinter.cli import lint_imports_command; lint_imports_command()"
CHECKS = {
    "ruff check": ("-m", "ruff", "check", "."),
    "ruff format --check": ("-m", "ruff", "format", "--check", "."),
    "mypy": ("-m", "mypy"),
    "lint-imports": ("-c", IMPORT_RULES, "--no-logo"),
    "tsc --noEmit": ("scripts/check_javascript.py",),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [-h] [--setup-only] [PYTEST ARGS]",
        allow_abbrev=False,
    )
    parser.add_argument("--setup-only", action="store_true", help="stop after the set-up")
    arguments, chosen = parser.parse_known_args()
    python = bootstrap.enter(bootstrap.DEV_LOCK, setup_only=arguments.setup_only)
    checks = {} if chosen else CHECKS
    pytest_arguments = chosen or WHOLE_SUITE
    failed = [name for name, command in checks.items() if _run(python, name, *command) != 0]
    if failed:
        print(f"\nFAILED before the tests: {', '.join(failed)}", flush=True)
    # Last, so that pytest's closing line ends the output.
    status = _run(
        python, " ".join(["pytest", *pytest_arguments]), "-m", "pytest", *pytest_arguments
    )
    return status or int(bool(failed))


def _run(python: Path, name: str, *arguments: str) -> int:
    """Run Python with the arguments in the repository's root; return its exit status."""
    print(f"\n$ {name}", flush=True)
    return subprocess.run([str(python), *arguments], cwd=bootstrap.ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
