"""What the vendor's people do to what is a tenant's is told in that tenant's own log, before it is done."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from audit.cells import InCell
from audit.handlers.common.internal import Actor, Internal, tell
from cellwave.environment import whoami

AT_ONCE = 8  # puts

Tenant = tuple[str, str]  # application, tenant


def staff() -> Actor:
    """Whoever gives this command: CELLWAVE_ACTOR, else user@host."""
    return Actor("vendor-staff", whoami())


def tell_tenants(
    at: InCell, tenants: Iterable[Tenant], name: str, details: Mapping[str, object] | None = None
) -> None:
    """Write an internal event into the log of each of these tenants in a cell; each call is a deed of its own.

    Raises botocore's errors, when not all of them are told: do nothing then.
    """
    s3, landing, who = at.client("s3"), at.bucket("landing"), staff()
    deed, now = uuid.uuid4().hex, datetime.now(UTC)

    def tell_one(tenant: Tenant) -> None:
        tell(Internal(*tenant, name, who, now, deed, details or {}), s3, landing)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(tell_one, tenants))
