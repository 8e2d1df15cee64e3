"""The two worlds of the deployer's contract: the fake, and the engine on the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from cellwave.deploy.backend import EngineBackend, FolderBackend, StateBackend
from cellwave.deploy.deadlines import Deadlines
from cellwave.deploy.port import Deployer, Job
from cellwave.deploy.pulumi import PulumiDeployer
from cellwave.project import Project
from cellwave.toolchain.engine import require_engine
from tests.deploy.fake import FakeCloud, FakeDeployer, FakeLock
from tests.deploy.world import ACCOUNT

KINDS = {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:sqs/queue:Queue": "queue",
    "aws:ssm/parameter:Parameter": "parameter",
    "aws:cloudwatch/logGroup:LogGroup": "logs",
}
PATIENCE = 60.0  # seconds before a helper gives up


def another_engine() -> subprocess.Popen[bytes]:
    """A process that is called like the engine, and does nothing."""
    folder = Path(tempfile.mkdtemp(prefix="engine"))
    shutil.copy("/bin/sleep", folder / "pulumi")
    engine = subprocess.Popen([folder / "pulumi", "600"])
    shutil.rmtree(folder)
    return engine


class FakeWorld:
    """Everything in memory."""

    def __init__(self) -> None:
        self.cloud = FakeCloud()

    def deployer(self) -> Deployer:
        """A deployer on the same cloud."""
        return FakeDeployer(self.cloud)

    def restarted(self) -> Deployer:
        """Another deployer on the same cloud."""
        return FakeDeployer(self.cloud)

    def there(self, stack: str) -> dict[str, str]:
        """Physical resources."""
        return dict(self.cloud.there.get(stack, {}))

    def is_made(self, stack: str) -> bool:
        """Made and not destroyed."""
        return self.cloud.stack(stack).is_made

    def recorded(self, stack: str) -> set[str]:
        """Recorded resources."""
        return set(self.cloud.stack(stack).recorded)

    def pending(self, stack: str) -> int:
        """Begun and not ended."""
        return len(self.cloud.stack(stack).pending)

    def is_locked(self, stack: str) -> bool:
        """Locked by anybody."""
        return self.cloud.stack(stack).lock is not None

    def lock(self, stack: str, *, living: bool) -> str:
        """Another engine's lock."""
        self.cloud.stack(stack).lock = FakeLock("somebody@here (pid 1)", living)
        return "somebody@here (pid 1)"

    def by_hand(self, stack: str, source: Path) -> None:
        """A job of the fake's, which the history has as somebody else's."""
        job = Job(attempt=str(source), stack=stack, operation="up", program=str(source), source=str(source))
        result = self.deployer().run(job, progress=lambda _: None, aborted=lambda: False)
        self.cloud.stack(stack).updates.pop(0)
        self.cloud.note_update(job, result, by_hand=True)

    def kill_engine(self, stack: str) -> None:
        """The next engine dies after the bucket."""
        self.cloud.kills.add(stack)

    def cut_off(self, stack: str, kind: str) -> None:
        """Recorded becomes pending."""
        state = self.cloud.stack(stack)
        state.pending[kind] = state.recorded.pop(kind)
        state.lock = FakeLock("killed", living=False)

    def cut_off_update(self, stack: str, version: str) -> None:
        """Changed in the cloud, unchanged in the state, and pending."""
        state = self.cloud.stack(stack)
        self.cloud.there[stack]["parameter"] = version
        state.pending["parameter"] = version
        state.lock = FakeLock("killed", living=False)


class RealWorld:
    """The engine, its state backend in a directory, and an account of the sandbox."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._root = Path(os.environ["PULUMI_BACKEND_URL"].removeprefix("file://")) / ".pulumi"
        self._session = boto3.Session(ACCOUNT, "secret", region_name="us-east-1")
        self._deployers: list[PulumiDeployer] = []
        self._shared: PulumiDeployer | None = None
        self._engines: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """Let every deployer's warm process go, and the engines that only hold a lock."""
        for engine in self._engines:
            engine.kill()
            engine.wait()
        for deployer in self._deployers:
            deployer.close()

    def deployer(self) -> PulumiDeployer:
        """The one that tests share, for its warm process: no test gave it anything of its own."""
        self._shared = self._shared or self.restarted()
        return self._shared

    def within(self, deadlines: Deadlines) -> PulumiDeployer:
        """A deployer with a warm process of its own, and with these deadlines."""
        self._deployers.append(PulumiDeployer(self._project, os.environ, deadlines))
        return self._deployers[-1]

    def restarted(self, **variables: str) -> PulumiDeployer:
        """A deployer with a warm process of its own, and with these variables in its environment."""
        self._deployers.append(PulumiDeployer(self._project, {**os.environ, **variables}))
        return self._deployers[-1]

    def there(self, stack: str) -> dict[str, str]:
        """What the emulated AWS has under the stack's names."""
        name = stack.replace(".", "-")
        found = {}
        for bucket in self._session.client("s3").list_buckets()["Buckets"]:
            if bucket["Name"].startswith(f"{name}-"):
                assert "bucket" not in found, "two buckets"
                found["bucket"] = bucket["Name"]
        sqs = self._session.client("sqs")
        for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []):
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            found["queue"] = attributes["VisibilityTimeout"]
        ssm = self._session.client("ssm")
        for parameter in ssm.get_parameters(Names=[f"/{name}/version"])["Parameters"]:
            found["parameter"] = parameter["Value"]
        logs = self._session.client("logs")
        for group in logs.describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]:
            found["logs"] = group["logGroupName"]
        return found

    def is_made(self, stack: str) -> bool:
        """Whether there is a checkpoint."""
        return self._file(stack).exists()

    def recorded(self, stack: str) -> set[str]:
        """What the checkpoint holds."""
        return {KINDS[r["type"]] for r in self._latest(stack).get("resources", []) if r["type"] in KINDS}

    def pending(self, stack: str) -> int:
        """What the checkpoint has as begun."""
        return len(self._latest(stack).get("pending_operations", []))

    def is_locked(self, stack: str) -> bool:
        """Whether there is a lock file."""
        return any(self._locks(stack).glob("*.json"))

    def lock(self, stack: str, *, living: bool, host: str = "") -> str:
        """Write a lock file: of an engine that lives as long as this world or is gone, on this host or another."""
        engine = another_engine()
        self._engines.append(engine)
        pid = engine.pid
        if not living:
            engine.kill()
            engine.wait()
        content = {
            "pid": pid,
            "username": "somebody",
            "hostname": host or socket.gethostname(),
            "timestamp": datetime.now(UTC).isoformat(),
        }
        self._locks(stack).mkdir(parents=True, exist_ok=True)
        self.lock_file(stack).write_text(json.dumps(content))
        return f"somebody@{host or socket.gethostname()} (pid {pid})"

    def lock_file(self, stack: str) -> Path:
        """Where that lock is."""
        return self._locks(stack) / "left.json"

    def unlock(self, stack: str) -> None:
        """Take that lock away again."""
        self.lock_file(stack).unlink()

    def backend(self, *, through_engine: bool) -> StateBackend:
        """What its backend tells: read from its folder, or asked through the engine as any other."""
        return EngineBackend(self._engine, os.environ) if through_engine else FolderBackend(self._root)

    @property
    def _engine(self) -> Path:
        return require_engine(self._project).path

    def by_hand(self, stack: str, source: Path) -> None:
        """Run the engine as a person does, in the folder of the program."""
        variables = {
            **os.environ,
            "PATH": f"{self._project.bin}:{os.environ['PATH']}",
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        }
        command = [str(self._engine), "up", "--yes", "--skip-preview", "--stack", stack]
        done = subprocess.run(command, cwd=source, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def kill_engine(self, stack: str) -> None:
        """Kill the process that the lock file names, once the checkpoint has the bucket."""
        threading.Thread(target=self._kill, args=(stack,), daemon=True).start()

    def cut_off(self, stack: str, kind: str) -> None:
        """Move the resource from the checkpoint's resources to its pending operations."""
        content = json.loads(self._file(stack).read_text())
        latest = content["checkpoint"]["latest"]
        lost = next(r for r in latest["resources"] if KINDS.get(r["type"]) == kind)
        latest["resources"].remove(lost)
        for key in ("id", "outputs"):
            del lost[key]
        latest["pending_operations"] = [{"resource": lost, "type": "creating"}]
        self._file(stack).write_text(json.dumps(content))
        self.lock(stack, living=False)

    def cut_off_update(self, stack: str, version: str) -> None:
        """Change the parameter behind the engine's back, and leave the update pending in the checkpoint."""
        name = f"/{stack.replace('.', '-')}/version"
        self._session.client("ssm").put_parameter(Name=name, Value=version, Overwrite=True)
        content = json.loads(self._file(stack).read_text())
        latest = content["checkpoint"]["latest"]
        recorded = next(r for r in latest["resources"] if KINDS.get(r["type"]) == "parameter")
        begun = {**recorded, "inputs": {**recorded["inputs"], "value": version}}
        latest["pending_operations"] = [{"resource": begun, "type": "updating"}]
        self._file(stack).write_text(json.dumps(content))
        self.lock(stack, living=False)

    def _kill(self, stack: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for lock in self._locks(stack).glob("*.json"):
                if "bucket" in self.recorded(stack):
                    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
                    return
            time.sleep(0.01)

    def _latest(self, stack: str) -> dict[str, Any]:
        try:
            return json.loads(self._file(stack).read_text())["checkpoint"].get("latest") or {}
        except FileNotFoundError:
            return {}

    def _file(self, stack: str) -> Path:
        return self._root / "stacks" / "shop" / f"{stack}.json"

    def _locks(self, stack: str) -> Path:
        return self._root / "locks" / "organization" / "shop" / stack
