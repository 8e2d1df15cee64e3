"""The sandbox's life: MiniStack, the edge and the stand-in AWS provider as detached processes of one project."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
from pydantic import Field

from cellwave.environment import direct
from cellwave.errors import CellwaveError, Unavailable
from cellwave.frozen import Frozen
from cellwave.processes import Proc, alive, spawn, stop, wake
from cellwave.project import Project
from cellwave.target import canonical_target, file_url

CONTROL_ACCOUNT = "200000000000"
REGION = "us-east-1"
PARTS = ("emulator", "provider", "edge")
START_WITHIN_S = 240.0
# What changes from one start of a sandbox to another.
OWN = (
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PULUMI_BACKEND_URL", "PULUMI_DEBUG_PROVIDERS",
    "CELLWAVE_EDGE_URL",
)  # fmt: skip
# What a shell may have set for real accounts, and would go along with the sandbox's own keys.
FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN")

Report = Callable[[str], None]


class SandboxState(Frozen):
    """What sandbox.json holds. `ports` stay from one `up` to the next while they are free; `processes` are those of
    the last `up` (empty after `down`). `secret` is the secret access key of every account."""

    secret: str = Field(repr=False)
    ports: dict[str, int] = {}
    processes: dict[str, Proc] = {}

    @property
    def running(self) -> bool:
        """Whether every part's process is alive."""
        return all(part in self.processes and alive(self.processes[part]) for part in PARTS)

    def url(self, part: str) -> str:
        """Where a part listens."""
        return f"http://127.0.0.1:{self.ports[part]}"


class PartStatus(Frozen):
    """One process of the sandbox, as `status` reports it."""

    name: str
    port: int
    pid: int
    alive: bool


def up(project: Project, report: Report) -> SandboxState:
    """Start what doesn't run, and return when all of it answers.

    A sandbox of which a part died is stopped and started as a whole: its parts hold each other's sessions.
    Raises CellwaveError when a part doesn't come up.
    """
    with _locked(project):
        state = _read(project) or SandboxState(secret=secrets.token_hex(20))
        if state.running:
            report(f"the sandbox already runs at {state.url('emulator')}")
            for part, proc in state.processes.items():
                if wake(proc):
                    report(f"its {part} was stopped, and goes on")
            return state
        _heal(state, report)
        _prepare(project)
        started = time.monotonic()
        state = _start(project, state)
        report(f"the sandbox runs at {state.url('emulator')} ({time.monotonic() - started:.1f} s)")
        return state


def down(project: Project) -> bool:
    """Stop every process of the sandbox; what it holds is kept for the next `up`. False when nothing ran."""
    with _locked(project):
        return _down(project)


def reset(project: Project) -> None:
    """Stop the sandbox and forget all it held: the emulated accounts and the state of every stack."""
    with _locked(project):
        _down(project)
        for entry in _folder(project).iterdir():
            if entry.name == "lock":
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def status(project: Project) -> list[PartStatus]:
    """Every part that was started and not brought down, alive or not; empty when there is none."""
    state = _read(project)
    if state is None:
        return []
    return [
        PartStatus(name=name, port=state.ports[name], pid=proc.pid, alive=alive(proc))
        for name, proc in state.processes.items()
    ]


def environment(project: Project) -> dict[str, str]:
    """The variables with which boto3, pulumi and cellwave itself speak to the sandbox; Unavailable when it is down."""
    state = _read(project)
    if state is None or not state.running:
        raise Unavailable("the sandbox is not running", hint="start it with `cellwave sandbox up`")
    return _environment(project, state)


def state_folder(project: Project) -> Path:
    """The folder that is the sandbox's state backend."""
    return _folder(project) / "state"


def target(project: Project) -> str:
    """The one name of the sandbox's state backend: what its rollouts and stacks are recorded under."""
    return canonical_target(_backend(project))


def require_current(project: Project, variables: Mapping[str, str]) -> None:
    """Unavailable when variables that `sandbox env` once printed lead to a sandbox that is down, or no longer there."""
    anew = 'eval "$(cellwave sandbox env)"'
    try:
        now = environment(project)
    except Unavailable as down:
        raise Unavailable(
            f"this shell has the variables of a sandbox, but {down.message}",
            hint=f"cellwave sandbox up && {anew}",
        ) from None
    here = {**variables, "PULUMI_BACKEND_URL": canonical_target(variables.get("PULUMI_BACKEND_URL", ""))}
    now["PULUMI_BACKEND_URL"] = target(project)
    if other := [name for name in OWN if here.get(name) != now[name]]:
        raise Unavailable(
            f"this shell's variables are not those of the running sandbox ({', '.join(other)})",
            hint=anew,
        )


def _environment(project: Project, state: SandboxState) -> dict[str, str]:
    folder = _folder(project)
    path = [
        str(project.bin),
        *(p for p in os.environ.get("PATH", os.defpath).split(":") if p != str(project.bin)),
    ]
    return {
        "AWS_ENDPOINT_URL": state.url("emulator"),
        "AWS_ACCESS_KEY_ID": CONTROL_ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": state.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "PULUMI_BACKEND_URL": _backend(project),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(folder / "passphrase"),
        "PULUMI_HOME": str(project.home / "pulumi"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The provider runs already: the engine would look for its plugin to download, for seconds at every command.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DEBUG_PROVIDERS": f"aws:{state.ports['provider']}",
        "CELLWAVE_EDGE_URL": state.url("edge"),
        "CELLWAVE_SANDBOX": "1",
        "PATH": ":".join(path),
        **direct(os.environ),
    }


def _folder(project: Project) -> Path:
    return project.home / "sandbox"


def _backend(project: Project) -> str:
    return file_url(state_folder(project))


@contextlib.contextmanager
def _locked(project: Project) -> Iterator[None]:
    """One `up`, `down` or `reset` at a time; the others wait."""
    folder = _folder(project)
    project.make_home()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(project: Project) -> SandboxState | None:
    path = _folder(project) / "sandbox.json"
    return SandboxState.model_validate_json(path.read_text()) if path.exists() else None


def _write(project: Project, state: SandboxState) -> None:
    _private(_folder(project) / "sandbox.json", state.model_dump_json(indent=1))


def _private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _prepare(project: Project) -> None:
    folder = _folder(project)
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    for name in ("state", "logs", "tmp", "accounts", "objects"):
        (folder / name).mkdir(exist_ok=True)
    if not (folder / "passphrase").exists():
        # The same in every sandbox: a literal `pulumi up` notes a salt of it in the checkout, which must fit the
        # next sandbox's stacks too. It guards nothing real.
        _private(folder / "passphrase", "cellwave-sandbox")
    # A fifth of an engine's processor time is a log of its own, property by property, which nobody reads here. It does
    # without where it can't make the folder; there is no other way to tell it.
    own_log = project.home / "pulumi/logs"
    if not own_log.is_file():
        shutil.rmtree(own_log, ignore_errors=True)
        own_log.parent.mkdir(exist_ok=True)
        own_log.touch()


def _heal(state: SandboxState, report: Report) -> None:
    """Stop what is left of a run of which a part died."""
    if not state.processes:
        return
    dead = [part for part, proc in state.processes.items() if not alive(proc)]
    report(f"an earlier run was cut off ({', '.join(dead) or 'half started'}); starting it anew")
    if "emulator" in dead:
        report(
            "what the emulator held since its last `down` is lost; `cellwave sandbox reset` starts from nothing"
        )
    for proc in state.processes.values():
        stop(proc)


def _down(project: Project) -> bool:
    state = _read(project)
    if state is None or not state.processes:
        return False
    ran = any(alive(proc) for proc in state.processes.values())
    # The edge first: it still publishes to the emulator.
    for part in reversed(PARTS):
        if part in state.processes:
            stop(state.processes[part], grace_s=20)
    _write(project, state.model_copy(update={"processes": {}}))
    return ran


def _start(project: Project, state: SandboxState) -> SandboxState:
    """Start all parts side by side; sandbox.json names each before the next starts, so none is ever lost."""
    ports = _ports(state.ports)
    state = SandboxState(secret=state.secret, ports=ports)
    for part in PARTS:
        argv, env = _command(project, state, part)
        proc = spawn(argv, env, _folder(project) / "logs" / f"{part}.log")
        state = state.model_copy(update={"processes": {**state.processes, part: proc}})
        _write(project, state)
    try:
        for part in PARTS:
            _wait(project, state, part)
    except BaseException:
        _down(project)
        raise
    return state


def _ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """A port for each part: the wanted one when it is free, else any. All are held until all are chosen."""
    with contextlib.ExitStack() as held:
        return {part: _port(held.enter_context(socket.socket()), wanted.get(part, 0)) for part in PARTS}


def _port(probe: socket.socket, wanted: int) -> int:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for port in (wanted, 0):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            probe.listen(1)  # or a second bind to it would succeed too
            return int(probe.getsockname()[1])
    raise Unavailable("no free port on 127.0.0.1")


def _command(project: Project, state: SandboxState, part: str) -> tuple[list[str], dict[str, str]]:
    """A part's command line and environment."""
    module = f"cellwave.sandbox.{part}"
    if part == "emulator":
        return [sys.executable, "-m", module], _emulator_environment(project, state)
    env = {k: v for k, v in os.environ.items() if k not in FOREIGN} | _environment(project, state)
    argv = [sys.executable, "-m", module, "--port", str(state.ports[part])]
    return argv + (["--project", str(project.root)] if part == "edge" else []), env


def _emulator_environment(project: Project, state: SandboxState) -> dict[str, str]:
    """A clean one: Lambdas inherit it, and must see neither the caller's credentials nor another endpoint."""
    folder = _folder(project)
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if key in os.environ}
    return kept | {
        "GATEWAY_PORT": str(state.ports["emulator"]),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "accounts"),
        "S3_DATA_DIR": str(folder / "objects"),
        "S3_PERSIST": "1",
        "LOG_LEVEL": "WARNING",
        # Idle Lambda processes beyond the first of a function go after this many seconds.
        "LAMBDA_WARM_TTL_SECONDS": "60",
        "TMPDIR": str(folder / "tmp"),
        "AWS_SECRET_ACCESS_KEY": state.secret,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _wait(project: Project, state: SandboxState, part: str) -> None:
    """Until the part answers; CellwaveError with the end of its log when it dies or takes too long."""
    deadline = time.monotonic() + START_WITHIN_S
    while not _answers(state, part):
        if not alive(state.processes[part]) or time.monotonic() > deadline:
            log = _folder(project) / "logs" / f"{part}.log"
            last = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise CellwaveError(f"the sandbox's {part} did not start: {' | '.join(last)}", hint=f"see {log}")
        time.sleep(0.05)


def _answers(state: SandboxState, part: str) -> bool:
    path = {"emulator": "/_ministack/ready", "edge": "/_edge/health"}.get(part)
    try:
        if path is None:
            socket.create_connection(("127.0.0.1", state.ports[part]), timeout=1).close()
            return True
        return httpx.get(state.url(part) + path, timeout=2, trust_env=False).status_code == 200
    except (OSError, httpx.HTTPError):
        return False
