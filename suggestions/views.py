"""`POST /api/v1/suggest-reminder`: the paid job, as HTTP. What happens inside is in `suggestions.flow`."""

import re
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import OuterRef
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import idempotency
from billing.errors import QuotaExhausted
from licenses.errors import Invalid, RateLimited
from licenses.models import LicenseToken
from licenses.prepared import Later, Prepared
from licenses.requests import service_request
from licenses.views import TOKEN_BY_DIGEST, LicensedView, count_again, count_against_license
from suggestions import flow
from suggestions.serializers import AnswerSerializer, AskSerializer

TOKEN_AND_KEY = Prepared(
    lambda: TOKEN_BY_DIGEST.queryset().annotate(key_is_known=idempotency.is_known(OuterRef("license"), Later("key")))
)
ANSWER_FIELDS = tuple(AnswerSerializer().fields)  # in the order in which they are documented
UTC = ZoneInfo("UTC")
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")


class SuggestReminderView(LicensedView):
    """A rough reminder in, a better one out, within the license's limits."""

    def find_token(self, request: Request, digest: str) -> LicenseToken | None:
        """Says also whether the request's Idempotency-Key was sent before (as few are): `key_is_known`."""
        key = _key(request)
        return TOKEN_AND_KEY.one(digest=digest, key=key) if key else super().find_token(request, digest)

    @extend_schema(
        summary="Turn a rough reminder into a better one",
        request=AskSerializer,
        responses={200: AnswerSerializer},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
                OpenApiParameter.HEADER,
                description="1 to 255 visible ASCII characters. The same request with the same key within 24 hours "
                "gets the same answer and is charged once; its due time is said in words that hold then.",
            )
        ],
    )
    def post(self, request: Request) -> Response:
        ask = self._ask(request)
        with ask.deadline():
            answer = flow.recall(ask) if getattr(ask.holder.token, "key_is_known", False) else None
            if answer is None:
                answer = self._suggest(request, ask)
        return Response({name: answer[name] for name in ANSWER_FIELDS})

    def _suggest(self, request: Request, ask: flow.Ask) -> dict[str, Any]:
        try:
            count_against_license(request, ask.holder.license, once=ask.claim.input_digest if ask.claim else "")
            return flow.suggest(ask)
        except (RateLimited, QuotaExhausted):
            # Of several with one key that came at once, the first may have taken what this one was refused.
            answer = flow.recall(ask)
            if answer is None:
                if ask.claim is not None:
                    count_again(ask.holder.license, ask.claim.input_digest)
                raise
            return answer

    def _ask(self, request: Request) -> flow.Ask:
        """Raises Invalid, naming each field that is wrong."""
        raw = service_request(request)
        # The token was judged before, wherever it came from.
        form = AskSerializer(data={name: value for name, value in raw.json_body.items() if name != "license_token"})
        errors: dict[str, Any] = {} if form.is_valid() else dict(form.errors)
        key = _key(request)
        if key is None and "Idempotency-Key" in request.headers:
            errors["Idempotency-Key"] = ["Must be 1 to 255 visible ASCII characters."]
        if errors:
            raise Invalid(errors=errors)
        text, zone = form.validated_data["reminder_text"], form.validated_data.get("timezone", UTC)
        holder = self.holder(request)
        claim = idempotency.claim_for(holder.license, key, {"text": text, "timezone": zone.key}) if key else None
        return flow.Ask(
            holder=holder,
            text=text,
            timezone=zone,
            claim=claim,
            request_id=raw.request_id,
            started=raw.started,
        )


def _key(request: Request) -> str | None:
    """The Idempotency-Key, if there is one and it is well-formed."""
    key = request.headers.get("Idempotency-Key", "")
    return key if VISIBLE_ASCII.fullmatch(key) else None
