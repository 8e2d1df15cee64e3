"""Run a Pulumi program in this process, as the engine's own Python host would in its own."""

from __future__ import annotations

import runpy
import site
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import grpc
import pulumi
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, plugin_pb2


class ProgramServer(LanguageServer):
    """A language host for any Python program.

    `engine_address` is what the engine handed over as an argument (None: it comes with each Run request).
    `root` is the folder whose `src` programs import from (None: the one with the request's Pulumi.yaml).
    `program` is the folder or file to run (None: what the request names).
    """

    def __init__(
        self, engine_address: str | None = None, *, root: Path | None = None, program: Path | None = None
    ) -> None:
        super().__init__(lambda: None)
        self._engine_address = engine_address
        self._root = root
        self._program = program

    def Handshake(
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Answer the engine's first call; there is nothing to agree on."""
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: object, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Name the version, which is the Pulumi SDK's."""
        from importlib.metadata import version

        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def Run(
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run the program that the request names; an error is logged to the engine once."""
        root = self._root or Path(request.info.root_directory or request.pwd)
        folder = request.info.program_directory or request.pwd
        program = self._program or Path(folder, request.info.entry_point)
        _use_virtualenv(root, dict(request.info.options))
        if self._engine_address:
            del request.args[:]
            request.args.append(self._engine_address)
        self.program = lambda: run_program(program, root)
        response: language_pb2.RunResponse = super().Run(request, context)  # type: ignore[no-untyped-call]
        if response.error:
            # It was logged already; `bail` keeps the engine from printing it a second time.
            response.error, response.bail = "", True
        return response


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
    own -= sys.stdlib_module_names
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


def _use_virtualenv(root: Path, options: dict[str, object]) -> None:
    """Import from the virtual environment that Pulumi.yaml names, when it is of this Python's version."""
    name = options.get("virtualenv")
    if isinstance(name, str) and name:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = root / name / "lib" / version / "site-packages"
        if packages.is_dir() and str(packages) not in sys.path:
            site.addsitedir(str(packages))


def serve(host: ProgramServer) -> tuple[grpc.Server, int]:
    """Serve a language host on a free loopback port; returns the started server and its port."""
    from concurrent.futures import ThreadPoolExecutor

    from pulumi.runtime.proto import language_pb2_grpc

    # The engine sends a stack's whole configuration in one message: its own limit, not gRPC's 4 MB.
    limit = 400 * 1024 * 1024
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4),
        options=[("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)],
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
