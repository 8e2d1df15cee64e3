"""Programs with packages of their own: what tells them, the lock, and the environment that is made of it."""

from __future__ import annotations

import base64
import fcntl
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from cellwave.errors import Unavailable
from cellwave.programs.environments import STAMP, UNUSED, ensure_environment, sweep
from cellwave.programs.packages import (
    LOCK,
    NoLock,
    Packages,
    find_packages,
    lock_of,
    python_of,
    renew_lock,
)

WHEEL = "theirs-1.0-py3-none-any.whl"
OWN = "iniconfig"  # small, and needs nothing
PULUMI = f"pulumi=={version('pulumi')}"
PYTHON = {"name": "app", "runtime": "python"}
POETRY = """
[[package]]
name = "pulumi"
version = "3.1.0"
optional = false
groups = ["main", "dev"]
markers = {main = "python_version > '3.8'", dev = "sys_platform == 'linux'"}
files = [{file = "a.whl", hash = "sha256:aa"}, {file = "a.tar.gz", hash = "sha256:ab"}]

[[package]]
name = "pytest"
version = "9.0"
optional = false
groups = ["dev"]
files = [{file = "b.whl", hash = "sha256:bb"}]

[[package]]
name = "colorama"
version = "0.4.6"
optional = false
groups = ["main"]
markers = "sys_platform == 'win32'"
files = [{file = "c.whl", hash = "sha256:cc"}]

[metadata]
lock-version = "2.1"
"""


def python_with(toolchain: str) -> dict[str, object]:
    """A Pulumi.yaml that asks for a toolchain."""
    return {"name": "app", "runtime": {"name": "python", "options": {"toolchain": toolchain}}}


def own(folder: Path, text: str, name: str = "requirements.txt") -> Packages:
    """A program in a folder with this file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    found = find_packages(folder, PYTHON)
    assert found
    return found


@pytest.mark.parametrize(
    ("files", "project", "kind", "folder"),
    [
        ([], PYTHON, None, ""),
        (["pyproject.toml", "requirements.lock"], PYTHON, None, ""),
        (["requirements.txt"], PYTHON, "pip", "."),
        (["requirements.txt", "uv.lock", "poetry.lock"], PYTHON, "pip", "."),
        (["requirements.txt", "uv.lock"], python_with("uv"), "uv", "."),
        (["poetry.lock"], PYTHON, "poetry", "."),
        (["requirements.txt"], {**PYTHON, "main": "deep/in"}, "pip", "."),
        (["requirements.txt", "deep/in/uv.lock"], {**PYTHON, "main": "deep/in"}, "uv", "deep/in"),
        (["requirements.txt", "uv.lock"], {"name": "app", "runtime": "yaml"}, None, ""),
        (["package-lock.json", "requirements.txt"], {"name": "app", "runtime": "nodejs"}, "npm", "."),
    ],
)
def test_the_nearest_file_of_the_program_s_own_tool_tells_its_packages(
    tmp_path: Path, files: list[str], project: dict[str, object], kind: str | None, folder: str
) -> None:
    """requirements.txt, uv.lock or poetry.lock unless Pulumi.yaml names a toolchain; package-lock.json for Node."""
    (tmp_path / "deep" / "in").mkdir(parents=True)
    for name in files:
        (tmp_path / name).touch()
    found = find_packages(tmp_path, project)
    assert (found and found.kind) == kind
    assert not found or found.folder == (tmp_path / folder).resolve()


@pytest.mark.parametrize(
    ("files", "project", "error"),
    [
        ([], python_with("uv"), "there is no uv.lock; expected: the one that `uv lock` writes"),
        ([], python_with("poetry"), "there is no poetry.lock; expected: the one that `poetry lock` writes"),
        ([], python_with("conda"), "packages of conda; expected: pip or uv or poetry"),
        (["package.json"], {"name": "app", "runtime": "nodejs"}, "there is no package-lock.json"),
        (
            ["yarn.lock"],
            {"name": "app", "runtime": {"name": "nodejs", "options": {"packagemanager": "yarn"}}},
            "packages of yarn; expected: npm",
        ),
    ],
)
def test_a_lock_that_is_asked_for_and_missing_is_named(
    tmp_path: Path, files: list[str], project: dict[str, object], error: str
) -> None:
    """With the command that writes it."""
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(NoLock, match=error):
        find_packages(tmp_path, project)


def test_requirements_are_locked_once_and_again_when_they_change(tmp_path: Path) -> None:
    """With versions and hashes; versions that still fit stay, and files that requirements name count too."""
    (tmp_path / "more.txt").write_text("iniconfig<2.1\n")
    packages = own(tmp_path, f"{PULUMI}\n-r more.txt\n")
    assert renew_lock(packages)
    lock = lock_of(packages)
    assert "\niniconfig==2.0.0 \\\n    --hash=sha256:" in lock
    assert not renew_lock(packages)
    (tmp_path / "more.txt").write_text("iniconfig\n")
    assert renew_lock(packages)
    assert "\niniconfig==2.0.0 " in lock_of(packages)
    (tmp_path / "more.txt").write_text("iniconfig>2.0\n")
    assert renew_lock(packages)
    assert "\niniconfig==2.0.0 " not in lock_of(packages)
    assert [file.name for file in packages.files] == ["requirements.txt", LOCK]


def test_requirements_with_hashes_are_a_lock_themselves(tmp_path: Path) -> None:
    """No other file is made."""
    text = "# pinned\n--index-url https://index.example/simple\npulumi==3.1.0 \\\n    --hash=sha256:aa\n"
    packages = own(tmp_path, text)
    assert not renew_lock(packages)
    assert lock_of(packages) == text
    assert [file.name for file in packages.files] == ["requirements.txt"]


def test_a_lock_says_where_packages_come_from(tmp_path: Path) -> None:
    """The options of requirements.txt that name an index stand in the lock; credentials of the machine don't."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    packages = own(tmp_path, f"--find-links {wheels}\n{PULUMI}\n")
    assert renew_lock(packages)
    assert lock_of(packages).splitlines()[1] == f"--find-links {wheels}"


@pytest.mark.parametrize("wanted", ["-e .", "app @ file:///nowhere", "./lib"])
def test_what_no_index_has_can_not_be_locked(tmp_path: Path, wanted: str) -> None:
    """A folder of the machine is not there on another; nothing is written."""
    for folder in (tmp_path / "app", tmp_path / "app" / "lib"):
        own(folder, f"{PULUMI}\n{wanted.replace('/nowhere', str(folder))}\n")
        (folder / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    with pytest.raises(NoLock, match=r"requirements.txt asks for .*; expected: a package of an index"):
        renew_lock(own(tmp_path / "app", (tmp_path / "app" / "requirements.txt").read_text()))
    assert not (tmp_path / "app" / LOCK).exists()


def test_requirements_without_pulumi_are_not_locked(tmp_path: Path) -> None:
    """Refused, and nothing is written."""
    for text in ("", "iniconfig\n"):
        with pytest.raises(NoLock, match=r"requirements.txt has no pulumi"):
            renew_lock(own(tmp_path, text))
        assert not (tmp_path / LOCK).exists()


def test_requirements_that_nothing_meets_are_told_in_uv_s_words(tmp_path: Path) -> None:
    """Which package, and why not."""
    with pytest.raises(Unavailable, match=r"requirements.txt can't be had:\n(?s:.)*iniconfig"):
        renew_lock(own(tmp_path, "iniconfig==0.0.1.dev7\n"))


def test_a_uv_lock_is_read_by_uv(tmp_path: Path) -> None:
    """Without the packages of development; one that is not of its pyproject.toml any more is refused."""
    text = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [{}]\n'
    groups = '[dependency-groups]\ndev = ["iniconfig"]\n'
    project = tmp_path / "pyproject.toml"
    project.write_text(text.format(f'"{PULUMI}"') + groups)
    subprocess.run([sys.executable, "-m", "uv", "-q", "lock"], cwd=tmp_path, check=True)
    packages = find_packages(tmp_path, python_with("uv"))
    assert packages
    assert not renew_lock(packages)
    assert f"{PULUMI} \\\n    --hash" in lock_of(packages)
    assert "iniconfig" not in lock_of(packages)
    project.write_text(text.format(f'"{PULUMI}", "iniconfig"') + groups)
    with pytest.raises(Unavailable, match="uv lock"):
        renew_lock(packages)


def test_a_poetry_lock_is_read_as_requirements(tmp_path: Path) -> None:
    """The main group, with its markers and hashes."""
    assert lock_of(own(tmp_path, POETRY, "poetry.lock")).splitlines() == [
        "pulumi==3.1.0 ; python_version > '3.8' --hash=sha256:aa --hash=sha256:ab",
        "colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:cc",
    ]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('lock-version = "2.1"', 'lock-version = "2.0"', "of an old format"),
        ('version = "0.4.6"', 'version = "0.4.6"\nsource = {type = "git"}', "colorama of a git"),
        ('name = "pulumi"', 'name = "pulumi-aws"', "poetry.lock has no pulumi"),
        ('version = "0.4.6"\n', "", "poetry.lock can't be read: 'version'; expected: what `poetry lock`"),
        ("[metadata]", "<<<<<<< HEAD", r"poetry.lock can't be read: .*line 25"),
        ("[[package]]\n", "package = 1\n", "poetry.lock can't be read"),
    ],
)
def test_a_poetry_lock_that_does_not_serve_is_refused(tmp_path: Path, old: str, new: str, error: str) -> None:
    """In words."""
    with pytest.raises(NoLock, match=error):
        lock_of(own(tmp_path, POETRY.replace(old, new), "poetry.lock"))


def test_a_poetry_lock_names_the_indexes_that_it_needs(tmp_path: Path) -> None:
    """Those of its packages, once each."""
    source = 'source = {type = "legacy", url = "https://index.example/simple", reference = "ours"}'
    text = POETRY.replace("optional = false", f"optional = false\n{source}")
    lock = lock_of(own(tmp_path, text, "poetry.lock"))
    assert lock.startswith("--extra-index-url https://index.example/simple\npulumi==3.1.0 ")
    assert lock.count("index-url") == 1


@pytest.mark.parametrize("name", ["requirements.txt", LOCK, ".python-version"])
def test_a_file_that_is_not_in_utf_8_is_named(tmp_path: Path, name: str) -> None:
    """As PowerShell writes one; a byte-order mark alone is fine."""
    packages = own(tmp_path, f"{PULUMI}\n")
    (tmp_path / name).write_bytes(f"{PULUMI}\n".encode("utf-16"))
    with pytest.raises(NoLock, match=f"{name} is not in UTF-8"):
        renew_lock(packages)
    with pytest.raises(NoLock, match=f"{name} is not in UTF-8"):
        python_of(packages) if name == ".python-version" else lock_of(packages)
    (tmp_path / name).write_text(f"\ufeff{PULUMI} --hash=sha256:aa\n")
    if name == "requirements.txt":
        assert not renew_lock(packages)


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "=======", "pulumi>=3", "no package["])
def test_a_cellwave_lock_that_somebody_worked_on_is_refused(tmp_path: Path, line: str) -> None:
    """By line, and it stays as it is: a merge is for a person to end."""
    packages = own(tmp_path, f"{PULUMI}\n")
    assert renew_lock(packages)
    text = packages.folder / LOCK
    text.write_text(f"{text.read_text()}{line}\n")
    before, error = text.read_bytes(), rf"cellwave.lock:[0-9]+ is {re.escape(repr(line))}"
    with pytest.raises(NoLock, match=error):
        lock_of(packages)
    for requirements in (f"{PULUMI}\n", f"{PULUMI}\niniconfig\n"):
        packages.source.write_text(requirements)
        with pytest.raises(NoLock, match=error):
            renew_lock(packages)
    assert text.read_bytes() == before


SECRET = "hunter2" * 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", f"--index-url https://user:{SECRET}@index.example/simple\n{PULUMI}\n"),
        ("requirements.txt", f"{PULUMI}\n--extra-index-url=http://{SECRET}@index.example/simple\n"),
        ("requirements.txt", f"{PULUMI}\nother @ git+https://me:{SECRET}@git.example/other\n"),
        ("base.txt", f"-f https://{SECRET}:@index.example/simple\n"),
        ("poetry.lock", POETRY.replace("optional", f'source.url = "https://a:{SECRET}@b.example"\noptional')),
        ("uv.toml", f'index-url = "https://me:{SECRET}@index.example/simple"\n'),
        ("uv.lock", f'source = {{ registry = "https://me:{SECRET}@index.example/simple" }}\n'),
    ],
)
def test_credentials_are_not_for_a_release(tmp_path: Path, name: str, text: str) -> None:
    """Whoever reads releases would have them. Where they stand is said, without them; nothing is written."""
    beside = name in ("base.txt", "uv.toml")
    (tmp_path / name).write_text(text)
    packages = own(tmp_path, f"{PULUMI}\n-r base.txt\n") if beside else own(tmp_path, text, name)
    with pytest.raises(
        NoLock, match=rf"{name}:\d+ holds a password or token for (index|git|b)\.example;"
    ) as error:
        renew_lock(packages)
    assert SECRET not in str(error.value)
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("user", ["user:${TOKEN}", "${TOKEN}", "oauth2accesstoken"])
def test_credentials_of_the_environment_are_told_by_name(tmp_path: Path, user: str) -> None:
    """As pip reads them; the lock holds the name. A nested file's indexes are the lock's too."""
    (tmp_path / "base.txt").write_text(f"--extra-index-url https://{user}@pypi.org/simple\n")
    packages = own(tmp_path, f"-r base.txt\n{PULUMI}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN", SECRET)
        assert renew_lock(packages)
    assert lock_of(packages).splitlines()[1] == f"--extra-index-url https://{user}@pypi.org/simple"
    assert SECRET not in lock_of(packages)


class _Index(BaseHTTPRequestHandler):
    """An index of one package, for whoever knows the password."""

    wheel = b""

    def do_GET(self) -> None:
        asked = f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
        known = {"/simple/theirs/": f"<a href='/{WHEEL}'>{WHEEL}</a>".encode(), f"/{WHEEL}": self.wheel}
        status = 401 if self.headers.get("Authorization") != asked else 200 if self.path in known else 404
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
        self.end_headers()
        if status == 200:
            self.wfile.write(known[self.path])

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def private_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an index that asks for a password, without it."""
    held = io.BytesIO()
    about = "theirs-1.0.dist-info"
    with zipfile.ZipFile(held, "w") as wheel:
        wheel.writestr("theirs.py", "words = 'theirs'\n")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setattr(_Index, "wheel", held.getvalue())
    with ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_private_index_s_password_is_of_the_machine_alone(
    tmp_path: Path, private_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the lock nor the environment holds it, nor is it said when it is wrong."""
    index = f"--extra-index-url http://me:${{INDEX_PASSWORD}}@{private_index}\n"
    packages = own(tmp_path / "app", f"{index}{PULUMI}\ntheirs\n")
    monkeypatch.setenv("INDEX_PASSWORD", SECRET)
    assert renew_lock(packages)
    made = ensure_environment(tmp_path, packages, lambda line: None)
    code = [str(made / "bin" / "python"), "-c", "import theirs; print(theirs.words)"]
    assert subprocess.run(code, capture_output=True, text=True, check=True).stdout == "theirs\n"
    assert index in lock_of(packages)
    assert SECRET not in lock_of(packages) + (made / "requirements.txt").read_text()
    monkeypatch.setenv("INDEX_PASSWORD", wrong := SECRET[::-1])
    with pytest.raises(Unavailable, match="401 Unauthorized") as error:
        ensure_environment(tmp_path / "other", packages, lambda line: None)
    assert wrong not in str(error.value)


def test_an_environment_is_made_once_for_each_lock(tmp_path: Path) -> None:
    """Two at once make one; one that was cut short is made anew; another lock has another."""
    packages, said = own(tmp_path / "app", f"{PULUMI}\niniconfig<2.1\n"), list[str]()
    renew_lock(packages)
    made = list[Path]()
    both = [
        threading.Thread(target=lambda: made.append(ensure_environment(tmp_path, packages, said.append)))
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert made[0] == made[1]
    assert said == [f"installing the packages of {packages.source}"]
    code = "import sys, iniconfig, pulumi; print(sys.prefix)"
    run = [str(made[0] / "bin" / "python"), "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == str(made[0])
    (packages.folder / LOCK).write_text("# of other words\n" + lock_of(packages).partition("\n")[2])
    assert ensure_environment(tmp_path, packages, said.append) == made[0]
    (made[0] / STAMP).unlink()
    shutil.rmtree(made[0] / "bin")
    assert ensure_environment(tmp_path, packages, said.append) == made[0]
    assert len(said) == 2
    (packages.folder / "requirements.txt").write_text(f"{PULUMI}\niniconfig>2\n")
    renew_lock(packages)
    assert ensure_environment(tmp_path, packages, said.append) != made[0]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a tool is found in /proc")
def test_an_installation_goes_on_without_its_killed_cellwave_and_the_next_waits(tmp_path: Path) -> None:
    """Two at once in one folder would spoil it: the tool of a killed process holds the environment's lock."""
    own(tmp_path / "app", f"{PULUMI} --hash=sha256:aa\n")
    tool = "import time; time.sleep(60)"
    (tmp_path / "killed.py").write_text(
        "import os, sys\nfrom pathlib import Path\nfrom cellwave.programs import environments, packages\n"
        "def sync(packages, *arguments, held=None):\n"
        f"    environments.run([sys.executable, '-c', {tool!r}, *arguments], packages, held=held)\n"
        "environments.uv = sync\n"
        "found = packages.find_packages(Path(sys.argv[1], 'app'), {'name': 'app', 'runtime': 'python'})\n"
        "environments.ensure_environment(Path(sys.argv[1]), found, lambda line: print(line, flush=True))\n"
    )
    run = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path)]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True, start_new_session=True) as killed:
        assert killed.stdout
        assert "installing the packages" in killed.stdout.readline()
        (lock,) = (tmp_path / "envs").glob("*.lock")
        while not (children := Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()):
            pass
        while b"time.sleep" not in Path(f"/proc/{children[0]}/cmdline").read_bytes():
            pass
        killed.kill()
    with lock.open() as waiting:
        with pytest.raises(BlockingIOError):
            fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(int(children[0]), signal.SIGKILL)
        fcntl.flock(waiting, fcntl.LOCK_EX)


def test_a_changed_package_is_not_installed(tmp_path: Path) -> None:
    """Its hash is not the lock's; nothing that looks like an environment stays."""
    packages = own(tmp_path / "app", f"{PULUMI} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(Unavailable, match="can't be had"):
        ensure_environment(tmp_path, packages, lambda line: None)
    assert not list((tmp_path / "envs").glob(f"*/{STAMP}"))


def test_a_lock_that_is_short_of_packages_is_known_when_its_environment_is_made(tmp_path: Path) -> None:
    """pip would refuse it: what Pulumi needs has no hash."""
    packages = own(tmp_path / "app", f"{PULUMI}\n")
    renew_lock(packages)
    pulumi = lock_of(packages).partition("\npulumi==")[2].partition("\npyyaml==")[0]
    packages.source.write_text(f"pulumi=={pulumi}\n")
    assert not renew_lock(packages)
    with pytest.raises(Unavailable, match="ModuleNotFoundError: No module named"):
        ensure_environment(tmp_path, packages, lambda line: None)
    assert not list((tmp_path / "envs").glob(f"*/{STAMP}"))


def test_the_python_that_a_program_asks_for_runs_it(tmp_path: Path) -> None:
    """By `.python-version`; one that is not here is said, and none is downloaded."""
    packages = own(tmp_path, f"{PULUMI}\n")
    assert python_of(packages) == sys.executable
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for text in (f"{ours}\n", f"# ours\n\n{ours}\n3.99\n", f"\ufeff{ours}\r\n"):
        (tmp_path / ".python-version").write_text(text)
        said = subprocess.run([python_of(packages), "-V"], capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"Python {ours}.")
    (tmp_path / ".python-version").write_text("\n")
    assert python_of(packages) == sys.executable
    (tmp_path / ".python-version").write_text("3.99\n")
    with pytest.raises(Unavailable, match=r"3\.99"):
        python_of(packages)


def test_environments_that_nobody_uses_are_collected(tmp_path: Path) -> None:
    """Thirty days after the last deployment with one, or the last try to make it; none that is being made."""
    envs = tmp_path / "envs"
    for name in ("old", "half", "busy"):
        (envs / name).mkdir(parents=True)
        (envs / f"{name}.lock").touch()
    (envs / "old" / STAMP).touch()
    at = (envs / "old" / STAMP).stat().st_mtime
    os.utime(envs / "half.lock", (at, at))
    with (envs / "busy.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep(tmp_path, at + UNUSED - 1) == 0
        assert sweep(tmp_path, at + UNUSED + 1) == 2
        assert sweep(tmp_path, at + UNUSED + 1) == 0
    assert [folder.name for folder in envs.iterdir() if folder.is_dir()] == ["busy"]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not here")
def test_the_packages_of_a_node_program_are_npm_s(tmp_path: Path) -> None:
    """As package-lock.json says, in a node_modules that many deployments share."""
    (tmp_path / "package.json").write_text(
        '{"name": "app", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}'
    )
    subprocess.run(["npm", "install", "--package-lock-only"], cwd=tmp_path, check=True, capture_output=True)
    packages = find_packages(tmp_path, {"name": "app", "runtime": "nodejs"})
    assert packages
    folder = ensure_environment(tmp_path / "home", packages, lambda line: None)
    assert (folder / "node_modules" / "ms" / "package.json").is_file()
    (tmp_path / "package.json").write_text(
        '{"name": "app", "version": "1.0.0", "dependencies": {"ms": "2.0.0"}}'
    )
    with pytest.raises(Unavailable, match=r"package-lock.json can't be had:\n(?s:.)*in sync"):
        ensure_environment(tmp_path / "home", packages, lambda line: None)
