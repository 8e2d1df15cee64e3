"""How an address is shown that something is found in. Pure."""

from __future__ import annotations

import re

# A user, and a password with whatever stands in it: only digits behind a colon are a port.
USER = re.compile(r"://(?:[^/?#@:\[]*:(?![0-9]*(?:[/?#]|$))(?:.*@|.*)|[^/?#]*@)")


def shown(url: str) -> str:
    """An address without user, password, query and fragment: any of these may hold a secret."""
    return re.split("[?#]", USER.sub("://", url, count=1))[0]
