"""Set the project up in `.cellwave/`: a virtual environment from the lock file, then the Pulumi engine.

Needs Python's standard library only. Run it as often as you like: a finished set-up is recognised in a moment,
and one that was killed in the middle is picked up again.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cellwave"
VENV = HOME / "venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "cellwave-setup.json"
LOCK = ROOT / "requirements.lock"


def main():
    """Make the environment, then the engine; returns the exit code."""
    if sys.version_info < OLDEST:
        return too_old()
    try:
        HOME.mkdir(exist_ok=True)
        HOME.chmod(0o700)  # state, keys and logs will be in it
        lock = (HOME / "setup.lock").open("w")
    except OSError as error:
        say(f"error: {error.filename}: {error.strerror}\n  right would be: a folder that you may write to")
        return 2
    with lock:
        wait_for(lock)
        if not is_done():
            set_up()
        return subprocess.call([PYTHON, "-P", "-m", "cellwave.toolchain"], cwd=ROOT)


def too_old():
    """Say which Python is needed, and name one that is there."""
    say(f"cellwave needs Python {OLDEST[0]}.{OLDEST[1]} or newer; this is {sys.version.split()[0]}.")
    newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
    say(f"Try: make PYTHON={newer[0] if newer else '/path/to/python3.11'}")
    return 2


def wait_for(lock):
    """Hold the lock: two set-ups at once would tread on each other."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("another set-up is running; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def fingerprint():
    """What the environment depends on."""
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (LOCK, ROOT / "pyproject.toml")
    }
    return {"python": sys.version, "base": sys.base_prefix, "root": str(ROOT), "files": files}


def is_done():
    """Whether the environment was finished from exactly this lock file and Python."""
    try:
        return json.loads(STAMP.read_text()) == fingerprint() and PYTHON.exists()
    except (OSError, ValueError):
        return False


def set_up():
    """Make or mend the virtual environment; the stamp is written last."""
    STAMP.unlink(missing_ok=True)
    if not can("uv"):
        make_venv()
    say("[2/3] installing the locked packages")
    uv = [PYTHON, "-m", "uv", "pip"]
    # Where Python may not cache what it compiles, every start of a program would compile it again.
    compiled = ["--compile-bytecode"] if sys.dont_write_bytecode else []
    run([*uv, "sync", "-q", *compiled, "--python", PYTHON, "--require-hashes", LOCK], "the locked packages")
    say("[3/3] installing cellwave itself, editable")
    run([*uv, "install", "-q", "--python", PYTHON, "--no-deps", "--no-build-isolation", "--editable", ROOT])
    partial = STAMP.with_suffix(".partial")
    partial.write_text(json.dumps(fingerprint(), indent=1))
    partial.replace(STAMP)


def can(module):
    """Whether there is a virtual environment of this very Python, in this place, that imports the module."""
    probe = f"import sys, {module}; print(sys.version, sys.base_prefix, sys.prefix)"
    try:
        said = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return False
    return said.stdout.strip() == f"{sys.version} {sys.base_prefix} {VENV}"


def make_venv():
    """A new environment with uv in it, which installs the rest many times faster than pip."""
    say("[1/3] making a virtual environment in .cellwave/venv")
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        fail(
            "Python's venv module can't make a virtual environment here: see above.\n"
            "On Debian and Ubuntu the package that completes it is missing: sudo apt-get install python3-venv"
        )
    pinned = re.search(r"^uv==.*(?:\n +--hash=.*)+", LOCK.read_text(), re.MULTILINE)
    only_uv = VENV / "uv.txt"
    only_uv.write_text(pinned.group(0) + "\n")
    run(
        [
            PYTHON,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            only_uv,
        ]
    )


def run(command, what=""):
    """Run a command that must succeed; a long one (`what`) tells how long it has been at work."""
    process = subprocess.Popen(command, cwd=ROOT)
    begun = time.monotonic()
    while what and sys.stderr.isatty() and process.poll() is None:
        print(f"\r      {what}: {time.monotonic() - begun:.0f} s ", end="", file=sys.stderr, flush=True)
        time.sleep(0.5)
    if what and sys.stderr.isatty():
        say("")
    code = process.wait()
    if code != 0:
        fail(f"set-up stopped: `{' '.join(map(str, command))}` ended with {code}. Run it again to go on.")


def say(text):
    """A line for the person who waits."""
    print(text, file=sys.stderr, flush=True)


def fail(text):
    """Say what is wrong and leave."""
    say(text)
    sys.exit(1)


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
