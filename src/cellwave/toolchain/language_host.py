"""`pulumi-language-python`: runs Python programs for the engine, each by the Python of its own environment.

The engine starts it with its own address as the last argument, reads the port from the first line of standard
output and calls the language runtime's gRPC service there. A deployment serves it from a fork of a process that has
imported the SDK already. Nothing here imports cellwave: this file is run by environments too that have none.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import FrameType, TracebackType

import grpc
import pulumi
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import events_pb2_grpc, language_pb2, language_pb2_grpc, plugin_pb2

GRACE = 5.0  # seconds that a running program gets to notice that its engine is leaving
LOOK = 0.5  # seconds between two looks at whether the parent is still there
LOGGED = 32  # exit code of a program whose error the engine has been told
MESSAGE = (
    400 * 1024 * 1024
)  # bytes: the engine's own limit, a stack's whole configuration comes in one message
MESSAGE_SIZES = (("grpc.max_receive_message_length", MESSAGE), ("grpc.max_send_message_length", MESSAGE))
# Another Python runs this file without importing from its folder, nor from the program's before Pulumi is there.
RUN = "--run-elsewhere"
ELSEWHERE = (
    "import sys; sys.path[:] = filter(None, sys.path); del sys.argv[0]; "
    "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
)


class ProgramServer(LanguageServer):
    """A language host for any Python program.

    `engine_address` is what the engine handed over as an argument (None: it comes with each Run request).
    `root` is the folder whose `src` programs import from (None: the one with the request's Pulumi.yaml).
    `program` is the folder or file to run (None: what the request names).
    `virtualenv` is the environment that runs it (None: the one that the request's Pulumi.yaml names, or this one).
    """

    def __init__(
        self,
        engine_address: str | None = None,
        *,
        root: Path | None = None,
        program: Path | None = None,
        virtualenv: Path | None = None,
    ) -> None:
        super().__init__(lambda: None)
        self._engine_address = engine_address
        self._root = root
        self._program = program
        self._virtualenv = virtualenv

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Answer the engine's first call; there is nothing to agree on."""
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: object, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Name the version, which is the Pulumi SDK's."""
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def Run(
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run the program that the request names, by the Python of its environment when it has one of its own."""
        root = self._root or Path(request.info.root_directory or request.pwd)
        folder = request.info.program_directory or request.pwd
        program = self._program or Path(folder, request.info.entry_point)
        if self._engine_address:
            del request.args[:]
            request.args.append(self._engine_address)
        virtualenv = self._virtualenv or _virtualenv(root, dict(request.info.options))
        if virtualenv is None or virtualenv.resolve() == Path(sys.prefix).resolve():
            return run_here(request, program, root)
        return _run_elsewhere(virtualenv, request, program, root)


def run_here(request: language_pb2.RunRequest, program: Path, root: Path) -> language_pb2.RunResponse:
    """Run a program in this process; an error is logged to the engine once."""
    server = LanguageServer(lambda: run_program(program, root))
    response: language_pb2.RunResponse = server.Run(request, None)  # type: ignore[no-untyped-call]
    if response.error:
        # It was logged already; `bail` keeps the engine from printing it a second time.
        response.error, response.bail = "", True
    return response


def _virtualenv(root: Path, options: dict[str, object]) -> Path | None:
    """The virtual environment that Pulumi.yaml names, or its toolchain makes; None when there is no word of one."""
    name = options.get("virtualenv") or (".venv" if options.get("toolchain") == "uv" else "")
    return root / str(name) if name else None


def _run_elsewhere(
    virtualenv: Path, request: language_pb2.RunRequest, program: Path, root: Path
) -> language_pb2.RunResponse:
    """Run a program by another environment's Python, a child of this process."""
    python = virtualenv / "bin" / "python"
    if not python.exists():
        error = f"Pulumi.yaml names the virtual environment {virtualenv}, and there is no bin/python in it"
        return language_pb2.RunResponse(error=error)
    command = [str(python), "-c", ELSEWHERE, __file__, RUN, str(program), str(root)]
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(virtualenv),  # as in a shell where it is active: a program may start `python`
        "PATH": os.pathsep.join([str(virtualenv / "bin"), os.environ.get("PATH", os.defpath)]),
    }
    environment.pop("PYTHONHOME", None)
    ended = subprocess.run(
        command, input=request.SerializeToString(), env=environment, check=False
    ).returncode
    if ended in (0, LOGGED):
        return language_pb2.RunResponse(bail=ended == LOGGED)
    return language_pb2.RunResponse(error=f"{python} ended with {ended}; its output says why")


def _be_elsewhere(program: Path, root: Path) -> None:
    """The child: runs what standard input asks for, and leaves with its code, or when its parent is gone."""
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    request = language_pb2.RunRequest.FromString(sys.stdin.buffer.read())
    response = run_here(request, program, root)
    sys.stdout.flush()
    os._exit(LOGGED if response.bail else 0)


def _leave_with(parent: int) -> None:
    # A killed parent sends no signal; its child is then adopted by another process.
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def run_program(program: Path, root: Path) -> None:
    """Run a program (a file, or a folder with a __main__.py) that may import from `<root>/src`.

    Raises pulumi.RunError with a text for the person who wrote the program.
    """
    program = program.resolve()
    target = program / "__main__.py" if program.is_dir() else program
    if not target.is_file():
        raise pulumi.RunError(f"there is no Python program at {target}")
    folders = [str(target.parent), *([str(root / "src")] if (root / "src").is_dir() else [])]
    forget_packages(folders)
    sys.path[:] = [*folders, *(entry for entry in sys.path if entry not in folders)]
    sys.argv = [str(target)]
    try:
        runpy.run_path(str(target), run_name="__main__")
    except (pulumi.RunError, grpc.RpcError):
        raise
    except SystemExit as stop:
        if stop.code not in (None, 0):
            raise pulumi.RunError(f"the program left with exit code {stop.code}") from stop
    except Exception as error:
        raise pulumi.RunError(describe(error)) from error


def forget_packages(folders: Iterable[str]) -> None:
    """Drop what was imported under a name that one of the folders has, so that the next import finds the program's own:
    it may be of another version than this process. The standard library stays."""
    entries = [entry for folder in folders for entry in Path(folder).iterdir()]
    own = {e.stem for e in entries if e.suffix == ".py" or (e / "__init__.py").is_file()}
    own -= set(getattr(sys, "stdlib_module_names", own))  # Python 3.9 can't tell, and runs one program alone
    for module in [m for m in sys.modules if m.partition(".")[0] in own]:
        del sys.modules[module]


def describe(error: BaseException) -> str:
    """A program's error: a CellwaveError's own words, else a traceback from the program's first line on."""
    if any(base.__name__ == "CellwaveError" for base in type(error).__mro__):
        hint = getattr(error, "hint", "")
        return f"{error} ({hint})" if hint else str(error)
    trail = _own_frames(error.__traceback__)
    return "Program failed with an unhandled exception:\n" + "".join(
        traceback.format_exception(type(error), error, trail)
    )


def _own_frames(trail: TracebackType | None) -> TracebackType | None:
    """The trail without the frames of this module and of runpy in front."""
    mine = (__file__, runpy.__file__, "<frozen runpy>")
    while trail is not None and trail.tb_next is not None and trail.tb_frame.f_code.co_filename in mine:
        trail = trail.tb_next
    return trail


def serve(host: ProgramServer) -> tuple[grpc.Server, int]:
    """Serve a language host on a free loopback port; returns the started server and its port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=MESSAGE_SIZES)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    if isinstance(host, events_pb2_grpc.EventsServicer):
        events_pb2_grpc.add_EventsServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main(arguments: list[str]) -> None:
    """Serve until the engine says SIGINT or SIGTERM, or is gone."""
    leaving = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    engine = os.getppid()
    address = next((arg for arg in reversed(arguments) if not arg.startswith("-")), None)
    server, port = serve(ProgramServer(address))
    print(port, flush=True)
    # A killed engine sends no signal; its child is then adopted by another process.
    while not leaving.wait(LOOK):
        if os.getppid() != engine:
            break
    server.stop(GRACE if os.getppid() == engine else 0).wait()
    # A program that hangs in a thread must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == [RUN]:
        _be_elsewhere(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
