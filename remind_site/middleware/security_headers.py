"""The headers that tell a browser what an answer may do, on every answer: pages, JSON, files, refusals.

No policy allows inline scripts, inline styles or `eval`. Each area has its own policy, by its path; the payment page
alone sets what it needs for Paddle itself (`billing.checkout`).
"""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.security import SecurityMiddleware

from remind_site.api import SHOP

FRAMED_BY_NOBODY = "base-uri 'none'; frame-ancestors 'none'"
# unfold hides a column of checkboxes by a style element with this one constant content (admin/change_list.html).
UNFOLDS_STYLE = "'sha256-+MEQ/O07HiRf96s+FyiSQj7xKrHjGPZWCed2MyGUBF4='"  # pragma: allowlist secret

NOTHING = f"default-src 'none'; form-action 'none'; {FRAMED_BY_NOBODY}"
CONSOLE = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {UNFOLDS_STYLE}; img-src 'self' data:; font-src 'self';"
    f" connect-src 'self'; form-action 'self'; {FRAMED_BY_NOBODY}"
)
SHOP_PAGES = f"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; {FRAMED_BY_NOBODY}"
DOCS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    f" form-action 'none'; {FRAMED_BY_NOBODY}"
)
POLICIES = {"/admin/": CONSOLE, "/api/v1/docs": DOCS, **dict.fromkeys(SHOP, SHOP_PAGES)}

# What no page of ours asks a browser for. Copying a token to the clipboard is not among it.
UNUSED = (
    "accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "hid", "magnetometer",
    "microphone", "midi", "payment", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
)  # fmt: skip


class SecurityHeadersMiddleware(SecurityMiddleware):
    """Django's own headers and ours. Stands outermost; the redirect to HTTPS is left to Django's, further in.

    (A redirect must carry CORS headers, so that a browser can read where to; these headers stand outside of them.)
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.redirect = False

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        super().process_response(request, response)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Cache-Control", "no-store")  # answers are for who asked, once
        response["Permissions-Policy"] = _permissions(response.headers.get("Permissions-Policy", ""))
        if not (settings.DEBUG and response.status_code in {404, 500}):  # Django's own pages, full of inline scripts
            response.headers.setdefault("Content-Security-Policy", _policy(request.path))
        return response


def _policy(path: str) -> str:
    return next((policy for prefix, policy in POLICIES.items() if path.startswith(prefix)), NOTHING)


def _permissions(granted: str) -> str:
    """What the view grants, and nothing else."""
    denied = [f"{feature}=()" for feature in UNUSED if f"{feature}=" not in granted]
    return ", ".join([granted, *denied] if granted else denied)
