"""Plays the engine: one connection, one configured provider, as `pulumi up` would use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from cellwave.sandbox.provider.values import Props, from_struct, to_struct


@dataclass
class Made:
    """A resource that is there: as the engine's state would hold it."""

    token: str
    ref: str
    inputs: Props
    state: Props


class Refused(Exception):
    """Check found something wrong; `failures` maps each property path to why."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__(str(failures))
        self.failures = failures


@dataclass
class Difference:
    """What Diff answered: each path with its kind, and what the engine would do."""

    paths: dict[str, str]
    replaces: list[str]
    delete_first: bool


def urn(token: str, name: str = "it") -> str:
    """The URN of a resource."""
    return f"urn:pulumi:stack::project::{token}::{name}"


@dataclass
class Engine:
    """An engine's connection to the provider under test."""

    port: int
    config: Mapping[str, Any]
    made: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Channels to one address share a connection unless told otherwise.
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub: Any = provider_pb2_grpc.ResourceProviderStub(self.channel)
        as_text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in self.config.items()}
        self.stub.Configure(provider_pb2.ConfigureRequest(args=to_struct(as_text)))

    def close(self) -> None:
        """Delete what is left, last made first, and hang up."""
        for made in reversed(self.made[:]):
            self.delete(made)
        self.channel.close()

    def check(self, token: str, inputs: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> Props:
        """The checked inputs; Refused when something is wrong with them."""
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                urn=urn(token), news=to_struct(inputs), olds=to_struct(olds or {}), randomSeed=b"seed" * 8
            )
        )
        if answer.failures:
            raise Refused({failure.property: failure.reason for failure in answer.failures})
        return from_struct(answer.inputs)

    def make(self, token: str, **inputs: Any) -> Made:
        """Check and create."""
        checked = self.check(token, inputs)
        answer = self.stub.Create(provider_pb2.CreateRequest(urn=urn(token), properties=to_struct(checked)))
        made = Made(token, answer.id, checked, from_struct(answer.properties))
        self.made.append(made)
        return made

    def preview(self, token: str, **inputs: Any) -> Props:
        """What a preview of a create answers."""
        request = provider_pb2.CreateRequest(urn=urn(token), properties=to_struct(inputs), preview=True)
        return from_struct(self.stub.Create(request).properties)

    def read(self, made: Made) -> Made | None:
        """Refresh: None when it is gone."""
        return self._read(made.token, made.ref, made.inputs, made.state)

    def take_in(self, token: str, ref: str) -> Made | None:
        """Import: None when there is no such thing."""
        return self._read(token, ref, {}, {})

    def _read(self, token: str, ref: str, inputs: Props, state: Props) -> Made | None:
        answer = self.stub.Read(
            provider_pb2.ReadRequest(
                urn=urn(token), id=ref, inputs=to_struct(inputs), properties=to_struct(state)
            )
        )
        found = from_struct(answer.inputs), from_struct(answer.properties)
        return Made(token, answer.id, *found) if answer.id else None

    def diff(self, made: Made, inputs: Mapping[str, Any]) -> Difference:
        """What it takes to bring the resource to these inputs."""
        answer = self.stub.Diff(
            provider_pb2.DiffRequest(
                urn=urn(made.token),
                id=made.ref,
                olds=to_struct(made.state),
                old_inputs=to_struct(made.inputs),
                news=to_struct(inputs),
            )
        )
        name = provider_pb2.PropertyDiff.Kind.Name
        paths = {path: name(item.kind) for path, item in answer.detailedDiff.items()}
        assert bool(paths) == (answer.changes == provider_pb2.DiffResponse.DIFF_SOME)
        return Difference(paths, list(answer.replaces), answer.deleteBeforeReplace)

    def update(self, made: Made, inputs: Mapping[str, Any], *, preview: bool = False) -> Made:
        """Check and update."""
        checked = self.check(made.token, inputs, made.inputs)
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                urn=urn(made.token),
                id=made.ref,
                olds=to_struct(made.state),
                old_inputs=to_struct(made.inputs),
                news=to_struct(checked),
                preview=preview,
            )
        )
        after = Made(made.token, made.ref, checked, from_struct(answer.properties))
        if not preview and made in self.made:
            self.made[self.made.index(made)] = after
        return after

    def delete(self, made: Made) -> None:
        """Delete; a second time is no error."""
        self.stub.Delete(
            provider_pb2.DeleteRequest(urn=urn(made.token), id=made.ref, properties=to_struct(made.state))
        )
        if made in self.made:
            self.made.remove(made)
