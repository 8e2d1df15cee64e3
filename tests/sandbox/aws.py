"""Shorthands for tests that speak to the emulated AWS."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable
from typing import Any

import boto3


def session(account: str, region: str) -> boto3.Session:
    """A session of the account, as the sandbox knows it."""
    return boto3.Session(
        aws_access_key_id=account,
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )


def until(what: str, check: Callable[[], Any], *, within_s: float = 120) -> Any:
    """Poll until `check` answers something true, and return that; AssertionError when it doesn't."""
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what}: still {found!r} after {within_s} s"
        time.sleep(0.1)
    return found


def zipped(files: dict[str, str]) -> bytes:
    """A zip of these files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target.getvalue()


def http_api(aws: boto3.Session, name: str, handler: str, **environment: str) -> str:
    """Put a Lambda of that source behind an HTTP API of that name; the API's id."""
    function = aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="product.app.handler",
        Code={"ZipFile": zipped({"product/app.py": handler})},
        Environment={"Variables": environment},
        Timeout=10,
    )
    gateway = aws.client("apigatewayv2")
    api_id = gateway.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=function["FunctionArn"],
        PayloadFormatVersion="2.0",
    )
    target = f"integrations/{integration['IntegrationId']}"
    gateway.create_route(ApiId=api_id, RouteKey="$default", Target=target)
    gateway.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)
    return api_id
