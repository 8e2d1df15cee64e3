"""One account and region through boto3, with API parameters derived from botocore's own service models."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from threading import Lock
from typing import Any, cast, get_origin

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from pulumi._types import is_input_type

from cellwave.sandbox.provider.schema import alternatives, arguments, element
from cellwave.sandbox.provider.values import Props

_GONE = re.compile(r"NotFound|NoSuch|NonExistent|DoesNotExist|^404$")
_session = cache(botocore.session.get_session)
_lock = Lock()


@dataclass(frozen=True)
class Credentials:
    """An access key; with nothing given boto3 looks where it always looks."""

    access_key: str | None = None
    secret_key: str | None = None
    token: str | None = None


@lru_cache(maxsize=128)
def client(credentials: Credentials, region: str, service: str) -> Any:
    """A boto3 client. Bounded, not kept per engine: models are large, a lost client is made anew in milliseconds."""
    with _lock:  # a botocore session may make only one client at a time; the clients themselves may be shared
        return _session().create_client(
            service,
            region_name=region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 3},
                s3={"addressing_style": "path"},
                max_pool_connections=32,
            ),
        )


def gone(error: ClientError) -> bool:
    """Whether AWS says that there is no such thing."""
    return bool(_GONE.search(error.response["Error"]["Code"]))


@dataclass(frozen=True)
class Aws:
    """One account and region, as a provider was configured for it by the engine that calls from `peer`."""

    region: str
    account: str
    credentials: Credentials = Credentials()
    default_tags: tuple[tuple[str, str], ...] = ()
    peer: str = ""

    def at(self, region: str | None) -> Aws:
        """The same account in another region (a resource's own `region`)."""
        return replace(self, region=region) if region else self

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        return client(self.credentials, self.region, service)

    def call(
        self,
        service: str,
        operation: str,
        props: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        /,
        **explicit: Any,
    ) -> Any:
        """Call an operation: the members of its input that agree with properties by name, then the explicit ones.

        `rename` maps a property to the API's name for it. Explicit parameters that are None are left out.
        """
        api = self.client(service)
        shape = api.meta.service_model.operation_model(api.meta.method_to_api_mapping[operation]).input_shape
        derived = to_api(shape, props or {}, rename or {}) if shape else {}
        given = {key: value for key, value in (derived | explicit).items() if value is not None}
        return getattr(api, operation)(**given)

    def find(self, service: str, operation: str, **explicit: Any) -> Any:
        """Like `call`, but None when there is no such thing."""
        try:
            return self.call(service, operation, **explicit)
        except ClientError as error:
            if gone(error):
                return None
            raise

    def wait(self, service: str, waiter: str, **explicit: Any) -> None:
        """Wait, for two minutes at most, until a waiter of the service is content."""
        often = {"Delay": 0.05, "MaxAttempts": 2400}
        self.client(service).get_waiter(waiter).wait(WaiterConfig=often, **explicit)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account and region, as the emulator writes it: of one partition."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def spelling(name: str) -> str:
    """What camelCase, PascalCase and acronyms of one name have in common."""
    return name.replace("_", "").lower()


def to_api(shape: Shape, value: Any, rename: Mapping[str, str] | None = None) -> Any:
    """A property value as an API parameter of that shape; members that no property agrees with are left out."""
    rename = rename or {}
    if isinstance(shape, StructureShape):
        members = {spelling(name): (name, member) for name, member in shape.members.items()}
        named = ((spelling(rename.get(key, key)), item) for key, item in value.items())
        return {members[key][0]: to_api(members[key][1], item) for key, item in named if key in members}
    if isinstance(shape, ListShape):
        if isinstance(value, dict):  # a map that the API wants as pairs: tags, dimensions
            first, second = cast(StructureShape, shape.member).members
            return [{first: key, second: item} for key, item in value.items()]
        return [to_api(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: to_api(shape.value, item) for key, item in value.items()}
    return _scalar(shape.type_name, value)


def text(value: Any) -> str:
    """A value as AWS spells it where it takes only text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "long": int,
    "double": float,
    "float": float,
    "string": text,
}


def _scalar(kind: str, value: Any) -> Any:
    return _SCALARS.get(kind, lambda same: same)(value)


def from_api(
    types: Mapping[str, Any], data: Mapping[str, Any], rename: Mapping[str, str] | None = None
) -> Props:
    """An API answer as properties: those of `types` that agree by name with a member that was answered."""
    found = {spelling(key): value for key, value in data.items() if value is not None}
    props: Props = {}
    for name, annotation in types.items():
        key = spelling((rename or {}).get(name, name))
        if key in found:
            props[name] = _from(annotation, found[key])
    return props


def _from(annotation: Any, value: Any) -> Any:
    kind = alternatives(annotation)[0]
    origin = get_origin(kind)
    if is_input_type(kind):
        return from_api(arguments(kind).types, value)
    if origin is not None and issubclass(origin, Sequence):
        return [_from(element(kind), item) for item in value]
    if origin is not None and issubclass(origin, Mapping):
        pairs = value.items() if isinstance(value, dict) else (item.values() for item in value)
        return {key: _from(element(kind), item) for key, item in pairs}
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if kind is str and isinstance(value, dict):  # boto3 decodes IAM's policy documents
        return json.dumps(value)
    if kind is bool and isinstance(value, str):
        return value.lower() == "true"
    return kind(value) if kind in (int, float, str) else value
