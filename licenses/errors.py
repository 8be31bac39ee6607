"""The refusals of the service: one base class, those of HTTP itself, and those that concern tokens, licenses and rates.

A refusal is an expected answer, never a bug: it knows its HTTP status, its stable code and the sentence for
people. Other apps derive their own; `remind_site.api` turns any of them into a response, in one place.
"""

from collections.abc import Mapping, Sequence


class Refusal(Exception):
    """A request that is answered with 'no', and why.

    Args:
        detail: a sentence for people; the class's own where left out.
        retry_after: whole seconds after which asking again makes sense.
        errors: field name to what is wrong with it, for `invalid`.
        headers: further response headers.
    """

    status = 400
    code = "invalid"
    detail = "The request is invalid."

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.detail
        self.errors = errors
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        super().__init__(self.detail)


class Invalid(Refusal):
    """Bad JSON or a bad field."""


class Unauthorized(Refusal):
    """The token does not open the door; every kind asks for a Bearer token."""

    status = 401

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class TokenMissing(Unauthorized):
    code = "token_missing"
    detail = "A license token is required. Send it as 'Authorization: Bearer <token>' or as license_token."


class TokenInvalid(Unauthorized):
    code = "token_invalid"
    detail = "Invalid license token. Please check it for typing errors, or log in again."


class TokenRevoked(Unauthorized):
    code = "token_revoked"
    detail = "This license token was revoked or replaced. Please log in with the current one."


class LicenseSuspended(Unauthorized):
    code = "license_suspended"
    detail = "This license is suspended. Please contact support."


class LicenseExpired(Unauthorized):
    code = "license_expired"
    detail = "This license has expired. Please renew it to go on."


class LicenseNotStarted(Unauthorized):
    code = "license_not_started"
    detail = "This license has not started yet."


class PlanInactive(Unauthorized):
    code = "plan_inactive"
    detail = "This license's plan is no longer offered. Please contact support."


class RateLimited(Refusal):
    status = 429
    code = "rate_limited"
    detail = "Too many requests."


class Forbidden(Refusal):
    status = 403
    code = "forbidden"
    detail = "This is not allowed."


class NotFound(Refusal):
    status = 404
    code = "not_found"
    detail = "There is nothing at this address."


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"
    detail = "This method is not allowed here."


class LengthRequired(Refusal):
    status = 411
    code = "length_required"
    detail = "Send the body with a Content-Length."


class TooLarge(Refusal):
    status = 413
    code = "too_large"
    detail = "The body is too large."


class UnsupportedMediaType(Refusal):
    status = 415
    code = "unsupported_media_type"
    detail = "Send the body as application/json."
