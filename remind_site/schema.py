"""The OpenAPI description where it says what all routes share: refusals, limits' headers, the token."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

REFUSAL = {
    "type": "object",
    "description": "Why a request was refused.",
    "properties": {
        "detail": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "For `invalid`: what is wrong with each field.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
    "required": ["detail", "code", "request_id"],
}
UNAUTHORIZED = (
    "`token_missing`, `token_invalid`, `token_revoked`, `license_suspended`, `license_not_started`, "
    "`license_expired`, `plan_inactive`"
)
# What any route may answer, and what is added where a token or a body is asked for.
EVERYWHERE = {
    "429": "`rate_limited`; `detail` says by which limit",
    "500": "`internal_error`",
    "503": "`database_unavailable`",
}
WITH_TOKEN = {"401": UNAUTHORIZED}
WITH_BODY = {
    "400": "`invalid`; `errors` names each field",
    "409": "`idempotency_in_progress`",
    "411": "`length_required`: a body without a Content-Length",
    "413": "`too_large`: more than 16 KiB",
    "415": "`unsupported_media_type`",
    "422": "`idempotency_mismatch`: the key was used with another body",
    "429": "`rate_limited` or `quota_exhausted`; `detail` says by which limit",
    "502": "`provider_invalid`",
    "503": "`provider_unavailable` or `database_unavailable`",
    "504": "`provider_timeout`",
}
LIMIT_HEADERS = {
    "X-RateLimit-Limit": "Requests allowed, by the limit that is nearest to refusing.",
    "X-RateLimit-Remaining": "Requests left.",
    "X-RateLimit-Reset": "When the window ends, in Unix seconds.",
}
RETRY_STATUSES = {"409", "429", "503"}
UNLIMITED = ("/health", "/api/v1/health")


class ServiceSchema(AutoSchema):
    """Names each operation after its whole path, so that two names of one view stay apart."""

    def get_operation_id(self) -> str:
        return f"{self.method.lower()}{self.path}".replace("/", ".")


class LicenseTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """A license token as a Bearer header; body and query string are described with the routes."""

    target_class = "licenses.authentication.LicenseTokenAuthentication"
    name = "licenseToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "remind_<plan>_<secret>"}


def one_spelling_a_route(endpoints: list[Any], **kwargs: Any) -> list[Any]:
    """Describe each route once, without the trailing slash that it also answers to."""
    return [(path.rstrip("/"), regex.replace("/?$", ""), method, view) for path, regex, method, view in endpoints]


def describe_refusals(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add what the middlewares do to the description of each operation."""
    result["components"].setdefault("schemas", {})["Refusal"] = REFUSAL
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            _describe(operation, method, limited=not path.startswith(UNLIMITED))
    return result


def _describe(operation: dict[str, Any], method: str, limited: bool) -> None:
    asks_for_token = "security" in operation
    refusals = dict(EVERYWHERE) if limited else {"500": EVERYWHERE["500"]}
    if asks_for_token:
        refusals |= WITH_TOKEN
        operation.setdefault("parameters", []).append(_token_in_query())
    if method == "post":
        refusals |= WITH_BODY
    for status, description in refusals.items():
        operation["responses"].setdefault(status, _refusal(description, status))
    for status, response in operation["responses"].items():
        headers = _headers(status, limited)
        response.setdefault("headers", {}).update(headers)


def _token_in_query() -> dict[str, Any]:
    return {
        "name": "license_token",
        "in": "query",
        "schema": {"type": "string"},
        "description": "For old clients; a Bearer header keeps the token out of addresses.",
    }


def _refusal(description: str, status: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
    }


def _headers(status: str, limited: bool) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": _header("string", "Names this request in our logs.", required=True)}
    if limited:
        headers |= {name: _header("integer", text) for name, text in LIMIT_HEADERS.items()}
    if status in RETRY_STATUSES:
        headers["Retry-After"] = _header("integer", "Seconds after which asking again makes sense.")
    if status == "401":
        headers["WWW-Authenticate"] = _header("string", "Bearer", required=True)
    return headers


def _header(type_: str, description: str, required: bool = False) -> dict[str, Any]:
    return {"schema": {"type": type_}, "description": description, "required": required}
