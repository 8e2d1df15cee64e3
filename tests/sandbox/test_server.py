"""The sandbox's life."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from typer.testing import CliRunner

from cellwave.cli.sandbox import app
from cellwave.errors import Unavailable
from cellwave.processes import Proc, alive
from cellwave.project import Project, find_project
from cellwave.sandbox import server

from .aws import until


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose sandbox is down, with a home of its own."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path))
    found = find_project(Path(__file__).parent)
    monkeypatch.chdir(found.root)
    yield found
    server.down(found)


def silent(_: str) -> None:
    """Report to nobody."""


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process that was started with this home in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(str(home) in value for value in process.environ().values()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def tables(environment: dict[str, str]) -> list[str]:
    """The tables of the control account."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    if "kept" not in (names := client.list_tables()["TableNames"]):
        client.create_table(
            TableName="kept",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    return names


def test_a_stopped_part_goes_on(project: Project) -> None:
    """It is alive and answers nobody: `up` lets it go on, and nothing that it held is lost."""
    state = server.up(project, silent)
    tables(server.environment(project))
    emulator = psutil.Process(state.processes["emulator"].pid)
    emulator.suspend()
    until("it is stopped", lambda: emulator.status() == psutil.STATUS_STOPPED)
    said: list[str] = []
    assert server.up(project, said.append) == state
    assert "its emulator was stopped, and goes on" in said
    assert "kept" in tables(server.environment(project))


def test_up_and_down_and_up_again(project: Project) -> None:
    """Down leaves no process; the next up has the same URLs and all that was there; reset forgets it."""
    first = server.up(project, silent)
    said: list[str] = []
    assert server.up(project, said.append) == first
    assert "already runs" in said[0]
    before = server.environment(project)
    assert tables(before) == []

    assert server.down(project)
    assert not processes_of(project.home)
    assert server.status(project) == []
    assert not server.down(project)
    with pytest.raises(Unavailable, match="not running"):
        server.environment(project)

    server.up(project, silent)
    assert server.environment(project) == before
    assert tables(before) == ["kept"]

    server.reset(project)
    assert not processes_of(project.home)
    assert [entry.name for entry in (project.home / "sandbox").iterdir()] == ["lock"]


def test_what_a_role_gave_is_good_when_all_was_started_anew(project: Project) -> None:
    """A worker that outlives a killed provider keeps its roles' keys, and must find what it finds with them."""
    old = server.up(project, silent)
    environment = server.environment(project)
    ambient = boto3.Session("200000000000", environment["AWS_SECRET_ACCESS_KEY"], region_name="eu-west-1")
    endpoint = environment["AWS_ENDPOINT_URL"]
    arn = "arn:aws:iam::200000000005:role/cellwave-deploy"
    role = ambient.client("sts", endpoint_url=endpoint).assume_role(RoleArn=arn, RoleSessionName="worker")
    given = role["Credentials"]
    keys = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
    ssm = boto3.Session(*keys, "eu-west-1").client("ssm", endpoint_url=endpoint)
    ssm.put_parameter(Name="/it", Type="String", Value="is there")
    os.kill(old.processes["provider"].pid, signal.SIGKILL)
    until("noticed", lambda: not old.running)
    server.up(project, silent)
    assert ssm.get_parameter(Name="/it")["Parameter"]["Value"] == "is there"


@pytest.mark.parametrize("part", ["edge", "emulator"])
def test_a_killed_part_is_healed(project: Project, part: str) -> None:
    """After kill -9 of one part the next up says so and starts all parts anew, leaving none of the old ones."""
    old = server.up(project, silent)
    os.kill(old.processes[part].pid, signal.SIGKILL)
    until("noticed", lambda: not old.running)
    said: list[str] = []
    new = server.up(project, said.append)
    assert "cut off" in said[0]
    assert new.running
    assert new.ports == old.ports
    assert not any(alive(proc) for proc in old.processes.values())


def test_strangers_are_left_alone(project: Project) -> None:
    """After a reboot others may have the pids and ports of sandbox.json: they keep them."""
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        taken = listener.getsockname()[1]
        folder = project.home / "sandbox"
        folder.mkdir(parents=True)
        state = server.SandboxState(
            secret="s",
            ports=dict.fromkeys(server.PARTS, taken),
            processes=dict.fromkeys(server.PARTS, Proc(pid=stranger.pid, started=1.0)),
        )
        (folder / "sandbox.json").write_text(state.model_dump_json())
        new = server.up(project, silent)
        assert new.running
        assert taken not in new.ports.values()
        assert stranger.poll() is None


def test_only_the_owner_reads_secrets(project: Project) -> None:
    """The secret key and the passphrase are in files of mode 0600, and in no log."""
    state = server.up(project, silent)
    folder = project.home / "sandbox"
    for name in ("sandbox.json", "passphrase"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert state.secret not in repr(state)
    assert not [log for log in (folder / "logs").iterdir() if state.secret in log.read_text()]


def test_engines_write_no_log_of_their_own(project: Project) -> None:
    """What an earlier sandbox let them write is gone; they find a file where they would make the folder."""
    logs = project.home / "pulumi/logs"
    logs.mkdir(parents=True)
    (logs / "pulumi-20260101T000000-1-up.log").touch()
    server.up(project, silent)
    assert logs.is_file()


def test_the_command_line_says_what_a_shell_needs(project: Project) -> None:
    """`env` can be evaluated by a shell, `status --json` is one object, and both fit what runs."""
    run = CliRunner().invoke
    assert run(app, ["status"]).stdout == "the sandbox is down\n"
    assert run(app, ["up"], catch_exceptions=False).exit_code == 0
    exports = run(app, ["env"], catch_exceptions=False).stdout
    script = exports + '\nprintf "%s" "$AWS_ENDPOINT_URL ${AWS_PROFILE-none}"'
    shell = subprocess.run(
        ["sh", "-c", script], env={"AWS_PROFILE": "x"}, capture_output=True, text=True, check=True
    )
    assert shell.stdout == f"{server.environment(project)['AWS_ENDPOINT_URL']} none"
    status = json.loads(run(app, ["status", "--json"], catch_exceptions=False).stdout)
    assert status["running"]
    assert {part["name"] for part in status["parts"]} == set(server.PARTS)
    assert "is down" in run(app, ["down"], catch_exceptions=False).output
