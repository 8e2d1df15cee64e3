"""A provider, an emulator or an edge that goes away in the middle of a deployment says nothing of the release."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from cellwave.deploy.port import Deployer, Job, Result
from cellwave.project import Project, find_project
from cellwave.sandbox import server
from tests.deploy.test_processes import when_half_done
from tests.deploy.world import held, job, release
from tests.deploy.worlds import RealWorld
from tests.keeping import kept

pytestmark = pytest.mark.engine


class Ground:
    """A sandbox of the test's own, whose parts it may end; what it deploys to is on it."""

    def __init__(self, project: Project, patch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._patch = patch
        self.mend()
        self.world = RealWorld(project)

    def mend(self) -> None:
        """Bring back what is gone."""
        server.up(self.project, print)
        for name, value in server.environment(self.project).items():
            self._patch.setenv(name, value)

    def send(self, part: str, number: int) -> None:
        """Send a part of the sandbox a signal."""
        pid = {status.name: status.pid for status in server.status(self.project)}[part]
        os.kill(pid, number)


class Lossy:
    """A provider of its own whose requests go to the emulator through here; it dies once AWS has done `action`, and
    before it hears of it."""

    def __init__(self, action: str) -> None:
        self._gate = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(action.encode()))
        threading.Thread(target=self._gate.serve_forever, daemon=True).start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.variables = {"PULUMI_DEBUG_PROVIDERS": f"aws:{port}"}
        self.provider = subprocess.Popen(
            [sys.executable, "-m", "cellwave.sandbox.provider", "--port", str(port)],
            env={**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._gate.server_port}"},
        )
        while self.provider.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break

    def close(self) -> None:
        """End what is left."""
        self.provider.kill()
        self.provider.wait()
        self._gate.shutdown()
        self._gate.server_close()

    def _handler(self, action: bytes) -> type[BaseHTTPRequestHandler]:
        emulator = os.environ["AWS_ENDPOINT_URL"]

        class Gate(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(gate) -> None:
                body = gate.rfile.read(int(gate.headers.get("Content-Length", 0)))
                told = httpx.request(
                    gate.command, emulator + gate.path, headers=dict(gate.headers), content=body
                )
                if action in body + gate.headers.get("X-Amz-Target", "").encode():
                    self.provider.kill()
                    self.provider.wait()
                    gate.close_connection = True
                    return
                gate.send_response_only(told.status_code)
                for name, value in told.headers.items():
                    if name.lower() not in (
                        "content-length",
                        "transfer-encoding",
                        "content-encoding",
                        "connection",
                    ):
                        gate.send_header(name, value)
                gate.send_header("Content-Length", str(len(told.content)))
                gate.end_headers()
                if gate.command != "HEAD":
                    gate.wfile.write(told.content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Gate


@pytest.fixture
def lossy(sandbox: Project) -> Iterator[Callable[[str], Lossy]]:
    """Makes providers that die of an action."""
    assert sandbox
    with contextlib.ExitStack() as ends:

        def make(action: str) -> Lossy:
            return ends.enter_context(contextlib.closing(Lossy(action)))

        yield make


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """A sandbox that a test may break."""
    monkeypatch.setenv("CELLWAVE_HOME", str(tmp_path / "home"))
    project = find_project(Path(__file__).parent)
    with kept(project):
        made = Ground(project, monkeypatch)
        yield made
        made.world.close()


@pytest.fixture
def wanted(tmp_path: Path, stack: str) -> Job:
    """A job that is held up between the bucket and the queue."""
    return job(f"rollout:{uuid.uuid4()}:forward:1", stack, held(tmp_path / "v1"))


def run(deployer: Deployer, wanted: Job) -> Result:
    """Run a job that nobody watches or aborts."""
    return deployer.run(wanted, progress=lambda event: None, aborted=lambda: False)


def next_try(wanted: Job) -> Job:
    """The same job, as the next attempt."""
    return wanted.model_copy(update={"attempt": f"{wanted.attempt[:-1]}2"})


def assert_nothing_is_left(world: RealWorld, stack: str) -> None:
    """Nothing is there that the state doesn't have; nothing is pending, and nobody holds the stack."""
    assert world.there(stack).keys() <= world.recorded(stack) == {"bucket", "queue", "parameter"}
    assert (world.pending(stack), world.is_locked(stack)) == (0, False)


@pytest.mark.parametrize("part", ["provider", "emulator"])
def test_a_part_that_is_killed_in_mid_deployment_condemns_nothing(
    ground: Ground, wanted: Job, part: str
) -> None:
    """The attempt may be tried again; while the part is away that is so too, and once it is back the job works."""
    stack = wanted.stack
    thread = when_half_done(ground.world, wanted, lambda: ground.send(part, signal.SIGKILL))
    result = run(ground.world.deployer(), wanted)
    thread.join()
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    away = run(ground.world.deployer(), wanted.model_copy(update={"attempt": f"{wanted.attempt}:away"}))
    assert (away.outcome, away.fault) == ("failed", "network"), away.reason
    ground.mend()
    back = run(ground.world.restarted(), next_try(wanted))
    assert back.outcome == "succeeded", back.reason
    assert "queue" in ground.world.there(stack)
    assert_nothing_is_left(ground.world, stack)


def test_an_edge_that_is_killed_in_mid_deployment_is_no_part_of_it(ground: Ground, wanted: Job) -> None:
    """Nothing of a deployment goes through it."""
    stack = wanted.stack
    thread = when_half_done(ground.world, wanted, lambda: ground.send("edge", signal.SIGKILL))
    result = run(ground.world.restarted(), wanted)
    thread.join()
    assert result.outcome == "succeeded", result.reason
    assert_nothing_is_left(ground.world, stack)


def s3_state() -> dict[str, str]:
    """A state backend in a bucket of the sandbox."""
    bucket, endpoint = f"state-{uuid.uuid4().hex}", os.environ["AWS_ENDPOINT_URL"]
    # (boto3's own session may be of before the sandbox was up, with credentials of another account.)
    boto3.Session().client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    query = f"endpoint={urlsplit(endpoint).netloc}&disableSSL=true&s3ForcePathStyle=true&region=us-east-1"
    return {"PULUMI_BACKEND_URL": f"s3://{bucket}?{query}"}


@pytest.mark.parametrize("state", ["folder", "s3"])
def test_what_was_made_though_nobody_heard_of_it_is_no_orphan(
    engine_world: RealWorld, lossy: Callable[[str], Lossy], stack: str, tmp_path: Path, state: str
) -> None:
    """The provider dies once there is a queue: the engine records that there is none. The next attempt finds it, on
    whatever host it is, since the state says that it may be there."""
    variables = s3_state() if state == "s3" else {}
    wanted = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))
    result = run(engine_world.restarted(**lossy("CreateQueue").variables, **variables), wanted)
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert "the connection was lost in the middle" in result.reason
    assert "can't say so" not in result.reason
    assert "queue" in engine_world.there(wanted.stack)
    other = engine_world.restarted(**variables) if variables else engine_world.deployer()
    back = run(other, next_try(wanted))
    assert back.outcome == "succeeded", back.reason
    assert "create" not in back.changes
    if state == "folder":
        assert_nothing_is_left(engine_world, wanted.stack)


@pytest.mark.parametrize("state", ["folder", "s3"])
def test_a_dead_host_s_lock_is_broken_whatever_runs_here_under_its_pid(
    engine_world: RealWorld, stack: str, tmp_path: Path, state: str
) -> None:
    """As that host would have written it, in either kind of backend. One that is younger than what is known of the host
    stays: it may be a person's."""
    variables = s3_state() if state == "s3" else {}
    deployer = engine_world.restarted(**variables)
    wanted = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))
    assert run(deployer, wanted).outcome == "succeeded"
    owner = engine_world.lock(wanted.stack, living=True, host="another-host")
    file = engine_world.lock_file(wanted.stack)
    if state == "s3":
        bucket = urlsplit(variables["PULUMI_BACKEND_URL"]).netloc
        client = boto3.Session().client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        key = file.relative_to(file.parents[5]).as_posix()
        client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
        engine_world.unlock(wanted.stack)
    outcomes = {}
    for number, until in ((2, time.time() - 600), (3, time.time() + 600)):
        attempt, known = f"{wanted.attempt}:{number}", {"another-host": until}
        result = run(deployer, wanted.model_copy(update={"attempt": attempt, "dead_hosts": known}))
        outcomes[number] = (result.outcome, result.owner)
    assert outcomes == {2: ("locked", owner), 3: ("succeeded", "")}
    if state == "folder":
        assert_nothing_is_left(engine_world, wanted.stack)


def test_an_update_that_nobody_heard_of_does_not_survive_a_way_back(
    engine_world: RealWorld, lossy: Callable[[str], Lossy], stack: str, tmp_path: Path
) -> None:
    """v2's value was set, its answer lost: the state must not tell the way back that v1's is there."""
    v1 = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v1"))
    assert run(engine_world.deployer(), v1).outcome == "succeeded"
    v2 = job(f"rollout:{uuid.uuid4()}:forward:1", stack, release(tmp_path / "v2", version="v2"))
    result = run(engine_world.restarted(**lossy("PutParameter").variables), v2)
    assert (result.outcome, result.fault) == ("failed", "network"), result.reason
    assert engine_world.there(stack)["parameter"] == "v2"
    back = run(engine_world.deployer(), next_try(v1))
    assert back.outcome == "succeeded", back.reason
    assert engine_world.there(stack)["parameter"] == "v1"
    assert_nothing_is_left(engine_world, stack)
