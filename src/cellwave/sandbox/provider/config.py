"""A provider's configuration: which account and region its resources are in, and who may say so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_aws.provider import ProviderArgs

from cellwave.sandbox.provider.aws import Aws, Credentials, client
from cellwave.sandbox.provider.model import words
from cellwave.sandbox.provider.schema import Failure, arguments, check
from cellwave.sandbox.provider.values import Props, has_unknown

# What means nothing here: one endpoint stands for all of AWS, and it checks nothing that these would skip.
_IGNORED = words(
    "endpoints maxRetries retryMode s3UsePathStyle skipCredentialsValidation skipMetadataApiCheck "
    "skipRegionValidation skipRequestingAccountId stsRegion userAgents version pluginDownloadURL"
)
_KNOWN = words(
    "accessKey allowedAccountIds assumeRoles defaultTags forbiddenAccountIds region secretKey token"
)


class Refused(Exception):
    """The configuration leads to an account that it does not allow."""


def decoded(args: Mapping[str, Any]) -> Props:
    """The configuration's values: the engine hands lists, objects and booleans over as JSON texts."""
    types = arguments(ProviderArgs).types

    def value(key: str, item: Any) -> Any:
        if not isinstance(item, str) or types.get(key) is str or has_unknown(item):
            return item
        try:
            return json.loads(item)
        except ValueError:
            return item

    return {key: value(key, item) for key, item in args.items()}


def problems(args: Mapping[str, Any]) -> Iterator[Failure]:
    """Everything wrong with a provider's configuration."""
    given = {
        key: value for key, value in decoded(args).items() if key not in ("version", "pluginDownloadURL")
    }
    yield from check(given, ProviderArgs)
    for key in given.keys() & arguments(ProviderArgs).types.keys() - _KNOWN - _IGNORED:
        yield Failure(key, "the sandbox's provider does not know this setting")


def configure(args: Mapping[str, Any]) -> Aws:
    """The account and region that a configuration leads to; Refused when that account is not allowed."""
    given = decoded(args)
    region = given.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise Refused("no region: give the provider one or set AWS_REGION")
    credentials = Credentials(given.get("accessKey"), given.get("secretKey"), given.get("token"))
    for role in given.get("assumeRoles") or ():
        credentials = _assume(credentials, region, role)
    account = client(credentials, region, "sts").get_caller_identity()["Account"]
    allowed, forbidden = given.get("allowedAccountIds"), given.get("forbiddenAccountIds") or ()
    if (allowed and account not in allowed) or account in forbidden:
        raise Refused(
            f"AWS account {account} is not allowed here (allowed: {', '.join(allowed or ()) or 'any other'})"
        )
    tags = (given.get("defaultTags") or {}).get("tags") or {}
    return Aws(region, account, credentials, tuple(sorted(tags.items())))


def _assume(credentials: Credentials, region: str, role: Mapping[str, Any]) -> Credentials:
    extra = {"ExternalId": role["externalId"]} if "externalId" in role else {}
    answer = client(credentials, region, "sts").assume_role(
        RoleArn=role["roleArn"], RoleSessionName=role.get("sessionName", "pulumi"), **extra
    )["Credentials"]
    return Credentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
