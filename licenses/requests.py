"""What the middlewares add to a request, for those who read it further in."""

from typing import Any, cast

from django.http import HttpRequest
from rest_framework.request import Request

from licenses.limits import Window


class ServiceRequest(HttpRequest):
    """A request as our views see it."""

    request_id: str
    started: float  # monotonic seconds
    windows: list[Window]  # the rate limits that it was counted against
    json_body: dict[str, Any]  # where a license token is required and the method has a body
    license_token: str  # well-formed, where one is required


def service_request(request: Request) -> ServiceRequest:
    """The request that DRF wraps."""
    return cast(ServiceRequest, request._request)
