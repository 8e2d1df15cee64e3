"""A client's headers on their way past the emulator's own eyes. Pure.

The emulator takes an account, a region and the coding of a body from the headers of a request. It is to find there what
the edge says and nothing else, so what a client sent travels under other names, and gets its own back (in
`cellwave.sandbox.emulator`) where the API that was called is known: a Lambda sees every header, as on AWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

PREFIX = "c-"  # short: what a client may send must fit into what the emulator takes


def sealed(account: str, region: str, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of a request that the emulator serves in this account and region. Names are lower-case.

    A header that comes twice is one with both values, as API Gateway gives it to a Lambda.
    """
    joined: dict[str, str] = {}
    for name, value in headers:
        between = "; " if name == "cookie" else ","
        joined[name] = f"{joined[name]}{between}{value}" if name in joined else value
    scope = f"{account}/{datetime.now(UTC):%Y%m%d}/{region}/execute-api/aws4_request"
    ours = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=edge"}
    return ours | {PREFIX + name: value for name, value in joined.items()}


def opened(headers: Mapping[str, str]) -> dict[str, str]:
    """The client's headers; a request that the edge didn't send is left as it is."""
    found = {name.removeprefix(PREFIX): value for name, value in headers.items() if name.startswith(PREFIX)}
    return found or dict(headers)
