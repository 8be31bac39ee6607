"""The base of the views that only a license's holder may call."""

from typing import ClassVar, cast

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from licenses import limits
from licenses.authentication import Holder, LicenseTokenAuthentication
from licenses.errors import RateLimited
from licenses.models import License, LicenseToken
from licenses.prepared import Later, Prepared
from licenses.requests import service_request

TOKEN_BY_DIGEST = Prepared(
    lambda: LicenseToken.objects.select_related("license__plan").filter(digest=Later("digest")).order_by()
)
RATE_WINDOW = 60  # seconds; the limits of plans and licenses are per minute


class ApiView(APIView):
    """A view of the API: its methods are those it defines, and no others."""

    http_method_names: ClassVar[list[str]] = ["get", "head", "post"]  # type: ignore[misc]  # the stubs see an instance's


class LicensedView(ApiView):
    """Asks for a license token: the middleware for its form, authentication for whose it is."""

    requires_license_token = True

    def get_authenticators(self) -> "list[BaseAuthentication]":
        return [LicenseTokenAuthentication(self.find_token)]

    def find_token(self, request: Request, digest: str) -> LicenseToken | None:
        """The token with this digest; a view may add what it wants to know in the same round trip."""
        return TOKEN_BY_DIGEST.one(digest=digest)

    def holder(self, request: Request) -> Holder:
        return cast(Holder, request.user)


def count_against_license(request: Request, license: License, once: str = "") -> None:
    """Count the request against its license's rate limit; `once` as `limits.hit` has it.

    Raises:
        RateLimited: there were too many in this minute.
    """
    window = limits.hit("license", str(license.pk), license.rate_limit, RATE_WINDOW, once)
    service_request(request).windows.append(window)
    if window.exceeded:
        raise RateLimited(
            f"Too many requests with this license: {window.limit} per minute are allowed.",
            retry_after=window.retry_after,
        )


def count_again(license: License, once: str) -> None:
    """The next request that is the same as this one (`once`) is counted like any other."""
    limits.forget("license", str(license.pk), once)


def peek_at_license(request: Request, license: License) -> limits.Window:
    """The license's rate limit as it stands, without counting this request."""
    window = limits.peek("license", str(license.pk), license.rate_limit, RATE_WINDOW)
    service_request(request).windows.append(window)
    return window
