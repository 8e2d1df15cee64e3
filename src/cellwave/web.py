"""HTTP clients that no variable of a shell can keep from being made.

httpx reads the proxy variables when a client is made, and fails there: for a range in NO_PROXY, for a SOCKS proxy
without its library, for a certificate file that is not there. Here they are read at a request, and what is wrong with
them is an error of that request.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.request
from collections.abc import Mapping

import httpx


class Route(httpx.BaseTransport):
    """Sends each request by the way that the proxy variables name for it; loopback is always direct."""

    def __init__(self) -> None:
        self._ways: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; ProxyError when the variables name a way that can't be gone."""
        proxy = proxy_for(request.url, urllib.request.getproxies_environment())
        try:
            way = self._ways.get(proxy) or self._ways.setdefault(proxy, httpx.HTTPTransport(proxy=proxy))
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            named = f"the proxy {proxy.rpartition('@')[2]}" if proxy else "the certificates"
            raise httpx.ProxyError(
                f"{named} of this shell can't be used: {error}", request=request
            ) from error
        return way.handle_request(request)

    def close(self) -> None:
        """Close every connection."""
        for way in self._ways.values():
            way.close()


def proxy_for(url: httpx.URL, proxies: Mapping[str, str]) -> str | None:
    """The proxy for a URL; None: it is asked directly. `proxies` is by scheme; "all" and "no" are two of them. Pure."""
    if is_loopback(url.host) or any(_covers(part, url) for part in proxies.get("no", "").split(",")):
        return None
    proxy = proxies.get(url.scheme) or proxies.get("all") or None
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself."""
    address = _address(host)
    return address.is_loopback if address else host.lower().rstrip(".") == "localhost"


def _covers(part: str, url: httpx.URL) -> bool:
    """Whether an entry of NO_PROXY (a host, a domain, an address, a range, each maybe with a port) is about a URL."""
    entry, host = part.strip().lower(), url.host.lower().rstrip(".")
    if entry == "*":
        return True
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        return address is not None and address in network
    except ValueError:
        pass
    named = re.fullmatch(r"(.*?)(?::([0-9]+))?", entry)
    name, port = named.groups() if named else (entry, None)
    if port and int(port) != (url.port or {"http": 80, "https": 443}.get(url.scheme)):
        return False
    name = name.strip("[]").removeprefix("*").lstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
