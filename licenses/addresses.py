"""Whose address a request comes from, and as what it is counted."""

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

IPV6_PREFIX = 64  # what one customer is usually given


def client_network(request: HttpRequest) -> str:
    """What the address limit counts by: an IPv4 address, or the /64 of an IPv6 one.

    `X-Forwarded-For` counts only as far as trusted proxies wrote it: of so many entries from its right end, the
    leftmost. With `TRUSTED_PROXY_COUNT` 0, or an entry that is no address, it is the connection's own.
    """
    return _network(_forwarded(request)) or _network(request.META.get("REMOTE_ADDR", "")) or "unknown"


def client_address(request: HttpRequest) -> str:
    """The address itself, by the same rule; empty where there is none."""
    given = _forwarded(request) or request.META.get("REMOTE_ADDR", "")
    try:
        return str(ip_address(given))
    except ValueError:
        return ""


def is_within(request: HttpRequest, networks: list[str]) -> bool:
    """Whether the address is one of these, or in one of these networks."""
    address = client_address(request)
    return bool(address) and any(ip_address(address) in ip_network(network) for network in networks)


def _forwarded(request: HttpRequest) -> str:
    if not settings.TRUSTED_PROXY_COUNT:
        return ""
    entries = request.headers.get("X-Forwarded-For", "").split(",")
    return _without_port(entries[-min(settings.TRUSTED_PROXY_COUNT, len(entries))].strip())


def _without_port(text: str) -> str:
    """Some proxies write `198.51.100.7:4711` and `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _network(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), IPV6_PREFIX), strict=False))
