"""The gRPC side: Pulumi's ResourceProvider, one configuration for each connection of an engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, NoReturn

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from google.protobuf.any_pb2 import Any as Packed  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from cellwave.sandbox.provider import config, operations
from cellwave.sandbox.provider.archive import Unreadable
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.diff import changes, in_place_of_itself
from cellwave.sandbox.provider.kinds import TYPES
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.package import package
from cellwave.sandbox.provider.schema import Failure
from cellwave.sandbox.provider.sources import SOURCES
from cellwave.sandbox.provider.values import Props, from_struct, to_struct

VERSION = version("pulumi_aws")
# Archives are large; and two servers must not share a port, or a connection would find another's configuration.
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]
_KINDS = provider_pb2.PropertyDiff.Kind
_SOME, _NONE = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE


def serve(port: int = 0) -> tuple[grpc.Server, int]:
    """Serve on loopback; returns the server and its port (0 picks a free one). OSError when the port is taken."""
    for kind in TYPES.values():
        assert kind.types  # the facts are read now, by one thread, and not while an engine waits
    server = grpc.server(ThreadPoolExecutor(max_workers=32), options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} can't be had") from error
    server.start()
    return server, bound


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Pulumi's ResourceProvider. Its only state is each connection's configuration.

    An engine dials one connection for each provider of a program, so the peer tells them apart: any number of
    engines, regions and accounts share one server. The server gets secrets laid open and returns them so; the engine
    keeps track of which they are.
    """

    def __init__(self) -> None:
        self._configured: dict[str, Aws] = {}

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: Any, context: Any) -> Any:
        # A new connection may come from the port of one that is gone.
        self._configured.pop(context.peer(), None)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps(package(VERSION)))

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return _checked(from_struct(request.news), config.problems(from_struct(request.news)))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        old, new = from_struct(request.old_inputs or request.olds), from_struct(request.news)
        changed = [
            key for key in sorted((old.keys() | new.keys()) - {"version"}) if old.get(key) != new.get(key)
        ]
        # Resources can't move: another region means other resources.
        replaces = [key for key in changed if key == "region"]
        return provider_pb2.DiffResponse(
            changes=_SOME if changed else _NONE, diffs=changed, replaces=replaces
        )

    def Configure(self, request: Any, context: Any) -> Any:
        with _errors(context, "configuring the AWS provider"):
            aws = config.configure(from_struct(request.args))
            self._configured[context.peer()] = replace(aws, peer=context.peer())
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        kind = _kind(request, context)
        news = operations.written(kind, from_struct(request.news))
        news = operations.named(kind, news, from_struct(request.olds), request.urn, request.randomSeed)
        return _checked(news, operations.problems(kind, news))

    def Diff(self, request: Any, context: Any) -> Any:
        kind = _kind(request, context)
        state, new = from_struct(request.olds), from_struct(request.news)
        found = changes(kind, from_struct(request.old_inputs) or state, new)
        found += operations.tag_changes(kind, self._aws(context), new, state) if not found else []
        return provider_pb2.DiffResponse(
            changes=_SOME if found else _NONE,
            diffs=sorted({change.top for change in found}),
            replaces=sorted({change.top for change in found if change.replace}),
            detailedDiff={
                change.path: provider_pb2.PropertyDiff(
                    kind=_KINDS.Value(change.kind.upper() + ("_REPLACE" if change.replace else "")),
                    inputDiff=True,
                )
                for change in found
            },
            hasDetailedDiff=True,
            deleteBeforeReplace=in_place_of_itself(kind, found),
        )

    def Create(self, request: Any, context: Any) -> Any:
        kind, inputs = _kind(request, context), from_struct(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(operations.preview_create(kind, inputs)))
        aws = self._aws(context)
        with _errors(context, f"creating {_name(request)}", aws):
            try:
                ref, state = operations.create(kind, aws, inputs)
            except operations.HalfMade as half:
                _fail_half(context, _text(f"finishing {_name(request)}", half.reason, aws), half, inputs)
        return provider_pb2.CreateResponse(id=ref, properties=to_struct(state))

    def Read(self, request: Any, context: Any) -> Any:
        kind, aws = _kind(request, context), self._aws(context)
        inputs, state = from_struct(request.inputs), from_struct(request.properties)
        with _errors(context, f"reading {_name(request)}", aws):
            found = operations.read(kind, aws, request.id, inputs, state)
        if found is None:
            return provider_pb2.ReadResponse()
        ref, live, live_inputs = found
        return provider_pb2.ReadResponse(id=ref, properties=to_struct(live), inputs=to_struct(live_inputs))

    def Update(self, request: Any, context: Any) -> Any:
        kind, aws = _kind(request, context), self._aws(context)
        inputs, state = from_struct(request.news), from_struct(request.olds)
        olds = from_struct(request.old_inputs) or state
        if request.preview:
            known = operations.preview_update(kind, aws, inputs, olds, state)
            return provider_pb2.UpdateResponse(properties=to_struct(known))
        with _errors(context, f"updating {_name(request)}", aws):
            live = operations.update(kind, aws, request.id, inputs, olds=olds, state=state)
        return provider_pb2.UpdateResponse(properties=to_struct(live))

    def Delete(self, request: Any, context: Any) -> Any:
        kind, aws = _kind(request, context), self._aws(context)
        with _errors(context, f"deleting {_name(request)}", aws):
            operations.delete(kind, aws, request.id, from_struct(request.properties))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        source = SOURCES.get(request.tok)
        if source is None:
            _abort(
                context,
                grpc.StatusCode.UNIMPLEMENTED,
                f"the sandbox's provider has no data source {request.tok}",
            )
        aws = self._aws(context)
        with _errors(context, f"reading {request.tok}", aws):
            found = source.read(aws.at(from_struct(request.args).get("region")))
        return provider_pb2.InvokeResponse(**{"return": to_struct(found)})

    def _aws(self, context: Any) -> Aws:
        found = self._configured.get(context.peer())
        if found is None:
            text = "this connection was never configured (was the sandbox's provider restarted meanwhile?)"
            _abort(context, grpc.StatusCode.FAILED_PRECONDITION, text)
        return found


def _kind(request: Any, context: Any) -> ResourceType:
    token: str = request.urn.split("::")[2].rsplit("$", 1)[-1]
    kind: ResourceType | None = TYPES.get(token)
    if kind is None:
        text = f"the sandbox's provider does not implement {token}; it knows {', '.join(sorted(TYPES))}"
        _abort(context, grpc.StatusCode.UNIMPLEMENTED, text)
    return kind


def _name(request: Any) -> str:
    _, _, token, name = request.urn.split("::", 3)
    return f"{token.rsplit('$', 1)[-1]} {name!r}"


def _checked(inputs: Props, failures: Iterator[Failure]) -> Any:
    found = [provider_pb2.CheckFailure(property=failure.path, reason=failure.reason) for failure in failures]
    return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=found)


def _text(doing: str, error: Exception, aws: Aws | None) -> str:
    where = f" (account {aws.account}, {aws.region})" if aws else ""
    if isinstance(error, ClientError):
        found = error.response["Error"]
        return f"{doing}: {error.operation_name}: {found.get('Code')}: {found.get('Message')}{where}"
    return f"{doing}: {error}{where}"


@contextmanager
def _errors(context: Any, doing: str, aws: Aws | None = None) -> Iterator[None]:
    """What AWS answers goes to the engine with its code, its message, and what was being done where."""
    try:
        yield
    except (ClientError, BotoCoreError, Unreadable, config.Refused, operations.AlreadyThere) as error:
        refused = isinstance(error, config.Refused)
        code = grpc.StatusCode.PERMISSION_DENIED if refused else grpc.StatusCode.UNKNOWN
        _abort(context, code, _text(doing, error, aws))


def _abort(context: Any, code: grpc.StatusCode, text: str) -> NoReturn:
    context.abort(code, text)
    raise AssertionError("abort returned")


def _fail_half(context: Any, text: str, half: operations.HalfMade, inputs: Props) -> NoReturn:
    """The engine keeps the resource in its state, so the next update goes on from there and nothing is orphaned."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=half.ref, properties=to_struct(half.state), reasons=[text], inputs=to_struct(inputs)
    )
    packed = Packed()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=text, details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    _abort(context, grpc.StatusCode.UNKNOWN, text)
