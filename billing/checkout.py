"""The pages on which people buy: a plan's checkout, the free license, and Paddle's payment page.

Opened by the client in a browser. A refusal is a page for whoever accepts HTML, else the API's JSON; which one is
decided by the site. What a purchase then leads to begins with Paddle's notifications (`billing.paddle.webhook`).
"""

from typing import Any

import structlog
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django_ratelimit.core import get_usage

from billing import links, mails
from billing.models import FreeClaim, Mail, PlanPrice
from licenses import addresses, connections, lifecycle
from licenses.errors import Invalid, MethodNotAllowed, NotFound, RateLimited, Refusal
from licenses.models import License, Plan

FREE = "free"
BY = "checkout"
RETRY_AFTER = 60  # seconds
CHECKOUTS, CLAIMS, CLAIMS_OF_ADDRESS = "20/10m", "10/h", "3/d"
PADDLE_HOSTS = {
    "production": "https://cdn.paddle.com https://buy.paddle.com https://checkout-service.paddle.com",
    "sandbox": "https://cdn.paddle.com https://sandbox-cdn.paddle.com https://sandbox-buy.paddle.com"
    " https://sandbox-checkout-service.paddle.com",
}

logger = structlog.get_logger(__name__)


class CheckoutUnavailable(Refusal):
    status = 503
    code = "checkout_unavailable"
    detail = "This can't be bought just now. Please try again in a few minutes; nothing was charged."

    def __init__(self) -> None:
        super().__init__(retry_after=RETRY_AFTER)


class EmailForm(forms.Form):
    """Where the free license is to go."""

    email = forms.EmailField(label="Your email address", max_length=254)


def checkout(request: HttpRequest, plan: str) -> HttpResponse:
    """Redirect to Paddle's checkout of a plan: `?interval=year`, `?email=` to prefill, `?license=` as we signed it."""
    _allow(request, "GET")
    price = _offered_price(plan, request.GET.get("interval", "month"))
    email = _email(request.GET.get("email", ""))
    _limit(request, "checkout", CHECKOUTS)
    license = links.license_of(request.GET.get("license", ""))
    custom_data = {"license": links.license_reference(license)} if license else None
    return _private(HttpResponseRedirect(_ask_paddle(price, email, custom_data), status=303))


def free(request: HttpRequest) -> HttpResponse:
    """Ask for an address, and mail a link to it that proves it is read there."""
    _allow(request, "GET", "POST")
    if request.method != "POST":
        return _page(request, "free.html", form=EmailForm(initial={"email": request.GET.get("email", "")}))
    form = EmailForm(request.POST)
    if not form.is_valid():
        return _page(request, "free.html", status=400, form=form)
    _limit(request, "free-license", CLAIMS)
    email = form.cleaned_data["email"].lower()
    _limit(request, "free-license-address", CLAIMS_OF_ADDRESS, key=claimed_address(email))
    # The same words and the same work either way, so that nobody learns here who has a license.
    mails.queue(Mail.Kind.CONFIRM_FREE, None, to=email)
    return _page(request, "free_sent.html", email=email)


def confirm_free(request: HttpRequest) -> HttpResponse:
    """Issue the free license to a proven address; by a button, since mail programs open links by themselves."""
    _allow(request, "GET", "POST")
    proof = request.POST.get("proof", "") or request.GET.get("proof", "")
    email = links.proven_address(proof)
    if email is None:
        raise Invalid("This link is too old or incomplete. Please ask for the free license once more.")
    if request.method != "POST":
        return _page(request, "free_confirm.html", email=email, proof=proof)
    return _page(request, "free_done.html", email=email, is_new=claim_free(email) is not None)


def pay(request: HttpRequest) -> HttpResponse:
    """The page that Paddle sends buyers to; its script opens the checkout named by `?_ptxn=`."""
    _allow(request, "GET")
    if not settings.PADDLE_CLIENT_TOKEN:
        raise CheckoutUnavailable
    page = _page(
        request, "pay.html", client_token=settings.PADDLE_CLIENT_TOKEN, environment=settings.PADDLE_ENVIRONMENT
    )
    page["Content-Security-Policy"] = _paddles_policy()
    page["Cross-Origin-Opener-Policy"] = "same-origin-allow-popups"  # some ways to pay open a window
    page["Permissions-Policy"] = _paddles_permissions()
    return page


def claim_free(email: str) -> License | None:
    """The free license of an address, its token on the way by mail; None where it had one before."""
    try:
        with transaction.atomic():
            plan = Plan.objects.get(slug=FREE)
            license = lifecycle.issue(email, plan, by=BY, reason="the free license, by a confirmed address")
            FreeClaim.objects.create(address=claimed_address(email), license=license)
            mails.queue_token(license, once=f"token:{license.pk}")
    except IntegrityError:
        return None
    return license


def claimed_address(email: str) -> str:
    """An address as it counts once: in lower case, without a +tag."""
    local, _, domain = email.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _offered_price(slug: str, interval: str) -> PlanPrice:
    plan = Plan.objects.filter(slug=slug, is_public=True, is_active=True).first()
    if plan is None:
        raise NotFound("There is no such plan.")
    if interval not in PlanPrice.Interval.values:
        raise Invalid(errors={"interval": ["This must be month or year."]})
    price = PlanPrice.objects.filter(plan=plan, interval=interval, is_offered=True).first()
    if price is None or not settings.PADDLE_API_KEY:
        logger.error("checkout_not_set_up", plan=slug, interval=interval, has_price=price is not None)
        raise CheckoutUnavailable
    return price


def _ask_paddle(price: PlanPrice, email: str, custom_data: dict[str, str] | None) -> str:
    from billing.paddle import api  # not above: Paddle's SDK would be a third of what each web process loads

    connections.give_back()
    try:
        return api.create_checkout(price.price_id, email=email, custom_data=custom_data)
    except api.PaddleUnavailable as problem:
        logger.warning("paddle_unavailable", problem=str(problem))
    except api.PaddleRefused as refused:
        logger.error("paddle_refused", code=refused.code, price=price.price_id)
    raise CheckoutUnavailable


def _email(given: str) -> str:
    try:
        if given:
            validate_email(given)
    except ValidationError:
        raise Invalid(errors={"email": ["This is no email address."]}) from None
    return given.lower()


def _limit(request: HttpRequest, group: str, rate: str, key: str = "") -> None:
    usage = get_usage(
        request,
        group=group,
        key=lambda _, request: key or addresses.client_network(request),
        rate=rate,
        increment=True,
    )
    if usage and usage["should_limit"]:
        raise RateLimited("Too many tries. Please wait a while.", retry_after=usage["time_left"])


def _allow(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(headers={"Allow": ", ".join(methods)})


def _page(request: HttpRequest, template: str, status: int = 200, **context: Any) -> HttpResponse:
    page = render(request, f"checkout/{template}", {**context, "support": settings.SUPPORT_EMAIL}, status=status)
    return _private(page)


def _private(response: HttpResponse) -> HttpResponse:
    """Addresses here may hold a proof: neither kept nor passed on. (`no-referrer` would keep forms from being sent.)"""
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "same-origin"
    return response


def _paddles_permissions() -> str:
    """Paying from a wallet (Apple's, Google's) is offered inside Paddle's frame."""
    frames = " ".join(f'"{host}"' for host in PADDLE_HOSTS[settings.PADDLE_ENVIRONMENT].split())
    return f"payment=(self {frames})"


def _paddles_policy() -> str:
    """Just what Paddle.js and its frame need. It sets the style of its frame's element, hence that attribute."""
    hosts = PADDLE_HOSTS[settings.PADDLE_ENVIRONMENT]
    return (
        "default-src 'none'; script-src 'self' https://cdn.paddle.com;"
        f" style-src 'self' {hosts}; style-src-attr 'unsafe-inline';"
        f" frame-src {hosts}; connect-src {hosts}; img-src 'self' data: {hosts}; font-src {hosts};"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
