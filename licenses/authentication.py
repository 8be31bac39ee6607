"""From a token in a request to the license that may act: where the token may stand, and whose it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from licenses import decisions, tokens
from licenses.errors import TokenInvalid, TokenMissing
from licenses.models import License, LicenseToken
from licenses.requests import service_request


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is asking: a license through one of its tokens. What DRF knows as the request's user."""

    license: License
    token: LicenseToken
    is_authenticated: bool = True


def presented_token(request: HttpRequest, body: Mapping[str, Any]) -> str:
    """The token that came with a request: in its JSON body, as a Bearer header, or in its query string.

    Raises:
        TokenMissing: there is none.
        TokenInvalid: it does not have a token's form, so no database need be asked.
    """
    token = body.get("license_token") or _bearer(request) or request.GET.get("license_token")
    if not token:
        raise TokenMissing
    if not isinstance(token, str) or not tokens.is_well_formed(token):
        raise TokenInvalid
    return token


class LicenseTokenAuthentication(BaseAuthentication):
    """DRF's authentication by the token that the middleware found on the request and put there.

    `find` has the token with a digest, its license and plan, and what a view wants to know in the same round trip.
    """

    def __init__(self, find: Callable[[Request, str], LicenseToken | None]) -> None:
        self._find = find

    def authenticate(self, request: Request) -> tuple[Holder, LicenseToken]:
        """Raises the Refusal that says why this token opens nothing now."""
        now = timezone.now()
        token = self._find(request, tokens.digest(service_request(request).license_token))
        if token is None:
            raise TokenInvalid
        structlog.contextvars.bind_contextvars(license_id=token.license_id, token_id=token.pk)
        decisions.require_active(token.license, now, token)
        token.touch(now)
        return Holder(token.license, token), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _bearer(request: HttpRequest) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
