"""The command as this user has to type it, for the next step that a command names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

CONTAINER_VARIABLE = "WSI_PIPELINE_CONTAINER"
"""Set in the image of our Dockerfile: ports and browser are the host's there."""


def is_in_container() -> bool:
    """Return whether this runs in a container of our own image."""
    return bool(os.environ.get(CONTAINER_VARIABLE))


def review_command(out: Path) -> str:
    """Return what to type to look at an output folder, and where where that is not here."""
    if is_in_container():
        command = own_command("serve", out, "--host", "0.0.0.0")  # noqa: S104 - the container's
        return f"run this image again with -p 127.0.0.1:8000:8000, for: {command}"
    return own_command("serve", out, "--open")


def own_command(*words: str | Path) -> str:
    """Return a command line of this program that works where the user stands.

    `wsi-pipeline` where the PATH finds the one that is running, else its path, from the working
    folder where it lies below that.

    Examples
    --------
    >>> own_command("serve", "my out").endswith("serve 'my out'")
    True
    """
    program = _program()
    parts = [*program, *map(str, words)]
    return subprocess.list2cmdline(parts) if os.name == "nt" else shlex.join(parts)


def _program() -> list[str]:
    name = "wsi-pipeline.exe" if os.name == "nt" else "wsi-pipeline"
    script = Path(sys.executable).with_name(name)
    if not script.exists():
        return [str(_from_here(Path(sys.executable))), "-m", "wsi_pipeline"]
    found = shutil.which("wsi-pipeline")
    if found and Path(found).resolve() == script.resolve():
        return ["wsi-pipeline"]
    return [str(_from_here(script))]


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
