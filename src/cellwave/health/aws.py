"""boto3 clients in any cell's account, made once and kept: a role's credentials refresh before they expire."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.parsers import JSONParser, ResponseParser, ResponseParserError, ResponseParserFactory
from botocore.session import Session, get_session
from botocore.utils import parse_timestamp

from cellwave.faults import of_error
from cellwave.health.model import Unreadable
from cellwave.health.ports import Scope

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ssm import SSMClient

# Throttling, a lost connection and a 5xx are tried again, with a growing pause, as the SDKs' standard mode has it.
CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
# What the request itself is to blame for; all other refusals are the surroundings'.
OUR_FAULT = (
    "Validation",
    "InvalidParameter",
    "MissingParameter",
    "MissingRequiredParameter",
    "ResourceNotFound",
)


# All that the SDK raises of what it meets outside; an answer that it can't read is no BotoCoreError.
AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)


class Clients:
    """Clients by service, role and AWS region. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ambient, self._assumed = _quick(get_session()), _quick(Session())
        # Or AWS's description of itself would be read from the disk once more.
        self._assumed.register_component("data_loader", self._ambient.get_component("data_loader"))
        self._sts: Any = None
        self._clients: dict[tuple[str, str | None, str], Any] = {}

    def cloudwatch(self, scope: Scope) -> CloudWatchClient:
        """CloudWatch of the scope's account and AWS region."""
        client: CloudWatchClient = self._client("cloudwatch", scope)
        return client

    def ssm(self, scope: Scope) -> SSMClient:
        """Systems Manager of the scope's account and AWS region."""
        client: SSMClient = self._client("ssm", scope)
        return client

    def _client(self, service: str, scope: Scope) -> Any:
        key = (service, scope.role, scope.aws_region)
        # Clients may be shared between threads, but making one in a session may not.
        with self._lock:
            if key not in self._clients:
                session = self._ambient if scope.role is None else self._session_of(scope.role)
                self._clients[key] = session.create_client(
                    service, region_name=scope.aws_region, config=CONFIG
                )
            return self._clients[key]

    def _session_of(self, role: str) -> Session:
        """The session, with a role's credentials for the next client: they are taken at its first use and refreshed in
        time. A session for each role would cost more than all that its client then does."""
        source = self._ambient.get_credentials()
        if source is None:
            raise NoCredentialsError
        self._sts = self._sts or self._ambient.create_client("sts", config=CONFIG)
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=lambda *_, **__: self._sts,
            source_credentials=source,
            role_arn=role,
            extra_args={"RoleSessionName": "cellwave-health"},
        )
        # botocore offers no public way to give a session credentials that refresh themselves.
        self._assumed._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]
            refresh_using=fetcher.fetch_credentials, method="assume-role"
        )
        return self._assumed


def is_our_fault(error: Exception) -> bool:
    """Whether what was asked for is wrong, rather than who was asked, or how they could be reached."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "")).startswith(OUR_FAULT)
    return isinstance(error, ParamValidationError)


def unreadable(error: Exception, what: str) -> Unreadable:
    """An error of AWS's as a reading, typed by whose it is."""
    if is_our_fault(error):
        return Unreadable(reason=f"{what}: {error}")
    silent = isinstance(error, HTTPClientError | ConnectionClosedError | ResponseParserError)
    if silent:
        return Unreadable(reason=f"{what}: {error}", cause="silence")
    return Unreadable(reason=f"{what}: {error}", cause="way", fault=of_error(error))


class _Parsers(ResponseParserFactory):
    """botocore's, but that lists of numbers are not gone through one by one, each by three calls."""

    def create_parser(self, protocol_name: str) -> ResponseParser:
        """See botocore."""
        if protocol_name != "json":
            return super().create_parser(protocol_name)
        made: ResponseParser = _JSONParser(**self._defaults)  # type: ignore[attr-defined]
        return made


class _JSONParser(JSONParser):
    def _handle_list(self, shape: Any, node: Any) -> list[Any]:
        match shape.member.type_name:
            case "double" if None not in node:
                return list(node)
            case "timestamp" if None not in node:
                return list(map(_moment, node))
        parsed: list[Any] = super()._handle_list(shape, node)  # type: ignore[misc]
        return parsed


def _quick(session: Session) -> Session:
    """The session, reading numbers as times of UTC at once: half of what a look took went to the host's time zone."""
    session.register_component("response_parser_factory", parsers())
    return session


def parsers() -> ResponseParserFactory:
    """What makes the parsers of answers."""
    made = _Parsers()
    made.set_parser_defaults(timestamp_parser=_moment)
    return made


def _moment(told: Any) -> datetime:
    return datetime.fromtimestamp(told, UTC) if isinstance(told, float | int) else parse_timestamp(told)
