"""The processes that serve a program to the engine: forks of this (warm) process, one for each run of the program."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from pulumi.runtime.proto import events_pb2, events_pb2_grpc, language_pb2, language_pb2_grpc

from cellwave.deploy.attempt import Attempt
from cellwave.deploy.events import Story, read_story
from cellwave.deploy.given import installed
from cellwave.deploy.port import Result
from cellwave.errors import Unavailable
from cellwave.faults import FAULTS, of_error
from cellwave.toolchain.language_host import MESSAGE_SIZES, ProgramServer, serve

UNSEEN = "what the preview showed could not be looked at"
Refuse = Callable[[Story], Result | None]


@dataclass(frozen=True)
class Program:
    """A Python program to serve: its folder or file, the folder whose `src` it imports from, the environment that
    runs it (None: this one). `log` takes what it prints. One that runs `in_view` imports no more than its inputs tell.
    """

    path: Path
    root: Path
    virtualenv: Path | None
    environment: Mapping[str, str]
    log: Path
    in_view: bool = False


@dataclass(frozen=True)
class Look:
    """A look ahead: what may refuse the update, where the engine's events go, and where a refusal is left."""

    refuse: Refuse
    events: Path
    refused: Path


class LookingHost(ProgramServer, events_pb2_grpc.EventsServicer):
    """Serves an `up` that previews first: it runs the program for the preview, and has the host at `update` run it for
    the update, unless the look refuses. Then the program has asked for nothing, and nothing changes."""

    def __init__(self, program: Program, look: Look, update: str) -> None:
        super().__init__(root=program.root, program=program.path, virtualenv=program.virtualenv)
        self._look, self._update = look, update
        self._found: list[Result | None] = []

    def StreamEvents(
        self, request_iterator: Iterable[events_pb2.EventRequest], context: grpc.ServicerContext
    ) -> Empty:
        """Write down the events of a run, each as it comes; the engine waits for the answer before the next run."""
        try:
            self._look.events.unlink(
                missing_ok=True
            )  # who reads the last run's is not to read on in this one's
            with self._look.events.open("w", buffering=1) as log:
                for request in request_iterator:
                    log.write(request.event)
            if not self._found:
                self._found.append(self._look.refuse(read_story(self._look.events)))
        except Exception as error:
            Attempt(self._look.events.parent).keep_traceback(error)
            raise
        return Empty()

    def Run(
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run the program for the preview, or have it run for the update."""
        if request.dryRun:
            return super().Run(request, context)
        if not self._found:
            return language_pb2.RunResponse(error=UNSEEN)
        if refusal := self._found[0]:
            self._look.refused.write_text(refusal.model_dump_json())
            return language_pb2.RunResponse(error=refusal.reason)
        with grpc.insecure_channel(self._update, options=MESSAGE_SIZES) as channel:
            response: language_pb2.RunResponse = language_pb2_grpc.LanguageRuntimeStub(channel).Run(request)
        return response


@dataclass(frozen=True)
class Hosts:
    """The processes that serve a program to one command, and where."""

    address: str
    pids: tuple[int, ...]

    def ended(self) -> int:
        """The exit code (negative: the signal) of the first that has come to an end of its own; 0 when none has."""
        for pid in self.pids:
            seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen and seen.si_status:
                return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
        return 0


@contextlib.contextmanager
def hosting(program: Program, look: Look | None, gone: int, alive: int) -> Iterator[Hosts]:
    """Serve a program to one command of the engine; events of one with a look go to the same address too.

    Its processes live until nobody writes to the pipe `gone` any more, or the end of this.
    """
    hosts: list[int] = []

    def fork(make: Callable[[], ProgramServer]) -> str:
        pid, address = _fork(make, program, gone, alive)
        hosts.append(pid)
        return address

    try:
        plain = partial(ProgramServer, root=program.root, program=program.path, virtualenv=program.virtualenv)
        address = fork(plain)
        if look is not None:
            address = fork(partial(LookingHost, program, look, address))
        yield Hosts(address, tuple(hosts))
    finally:
        for pid in hosts:
            _end(pid)


def _fork(make: Callable[[], ProgramServer], program: Program, gone: int, alive: int) -> tuple[int, str]:
    """Fork a process that serves; returns its pid and its address. Unavailable, with its kind, when it does not."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # The lock stays open: what holds it is found, and ended, when the attempt is over its time.
            for descriptor in (told, alive):
                os.close(descriptor)
            _be_host(make, program, gone, tell)
        except Exception as error:  # noqa: BLE001 - its traceback is kept
            Attempt(program.log.parent).keep_traceback(error)
            os.write(tell, f"{of_error(error)} {type(error).__name__}: {error}".encode(errors="replace"))
        finally:
            os._exit(1)
    os.close(tell)
    with os.fdopen(told) as answer:
        said = answer.read()
    if not said.isdecimal():
        _end(pid)
        fault, _, why = said.partition(" ")
        raise Unavailable(
            f"the program's host did not start: {why or 'it was killed'}",
            fault=next((known for known in FAULTS if known == fault), "host"),
        )
    return pid, f"127.0.0.1:{said}"


def _be_host(make: Callable[[], ProgramServer], program: Program, gone: int, tell: int) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(program.environment)
    if program.in_view:
        sys.path[:] = installed(sys.path)
    output = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(program.path if program.path.is_dir() else program.path.parent)
    _server, port = serve(make())
    os.write(tell, str(port).encode())
    os.close(tell)
    # Nobody writes: the end of the file means that the engine and its plugins are gone.
    os.read(gone, 1)
    sys.stdout.flush()
    os._exit(0)


def _end(pid: int) -> None:
    """End a host, and whatever its program has left running: it would keep the attempt's lock."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
