"""boto3 clients in any cell's account, made once and kept: a role's credentials refresh before they expire."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.session import Session as BotocoreSession
from botocore.session import get_session

from cellwave.health.ports import Scope

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ssm import SSMClient

CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})


class Clients:
    """Clients by service, role and AWS region. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sessions: dict[str | None, boto3.Session] = {}
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
                if scope.role not in self._sessions:
                    self._sessions[scope.role] = _session(scope.role)
                session: Any = self._sessions[scope.role]
                self._clients[key] = session.client(service, region_name=scope.aws_region, config=CONFIG)
            return self._clients[key]


def _session(role: str | None) -> boto3.Session:
    """A session with the ambient credentials, or with a role's that are taken at first use and refreshed in time."""
    ambient = get_session()
    if role is None:
        return boto3.Session(botocore_session=ambient)
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(ambient.create_client, config=CONFIG),
        source_credentials=ambient.get_credentials(),
        role_arn=role,
        extra_args={"RoleSessionName": "cellwave-health"},
    )
    assumed = BotocoreSession()
    # botocore offers no public way to give a session credentials that refresh themselves.
    assumed._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return boto3.Session(botocore_session=assumed)
