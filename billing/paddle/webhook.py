"""`POST /webhooks/paddle`: keep the notification, process it, answer 200 once it is kept.

Answers Paddle within a second, since nothing is asked of anybody outside on the way. What fails in processing stays
in the outbox, and Paddle gets its 200 all the same: we have the event. Only what is not kept is refused, so that
Paddle sends it again.
"""

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import outbox
from billing.models import WebhookEvent
from billing.paddle import events, signature
from licenses import addresses, limits
from licenses.errors import Forbidden, LengthRequired, RateLimited, Refusal, TooLarge
from licenses.requests import service_request
from licenses.views import ApiView

WINDOW = 60  # seconds

logger = structlog.get_logger(__name__)


class SignatureInvalid(Refusal):
    status = 401
    code = "signature_invalid"
    detail = "The notification's signature is missing, wrong, or too old."


class PaddleWebhookView(ApiView):
    """Where Paddle's notifications arrive."""

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        notification = service_request(request)
        _check_size(notification)
        _check_address(notification)
        _check_signature(notification)
        stored = events.store(notification.body.decode())
        if stored is not None:
            _process(stored)
        return Response({"received": True})


def _check_size(request: HttpRequest) -> None:
    length = request.META.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdecimal()):
        raise LengthRequired
    if int(length) > settings.MAX_WEBHOOK_BYTES:
        raise TooLarge(f"The body is too large: at most {settings.MAX_WEBHOOK_BYTES // 1024} KiB.")


def _check_address(request: HttpRequest) -> None:
    allowed = settings.PADDLE_ALLOWED_ADDRESSES
    if allowed and not addresses.is_within(request, allowed):
        raise Forbidden


def _check_signature(request: HttpRequest) -> None:
    """Signed notifications are never limited; of the others, each address may try a few times a minute."""
    if signature.is_genuine(request):
        return
    tries = limits.hit("unsigned", addresses.client_network(request), settings.UNSIGNED_WEBHOOKS_A_MINUTE, WINDOW)
    if tries.exceeded:
        raise RateLimited("Too many notifications without a valid signature.", retry_after=tries.retry_after)
    logger.warning("signature_invalid", secrets_known=len(settings.PADDLE_WEBHOOK_SECRETS))
    raise SignatureInvalid


def _process(stored: WebhookEvent) -> None:
    try:
        outbox.attempt(stored, events.process, lease=events.ORPHANED_AFTER)
    except DatabaseError as error:  # it is kept: the worker will find it
        logger.error("processing_put_off", event_id=stored.event_id, exc_info=error)
