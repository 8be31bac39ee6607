"""`GET /api/v1/usage/stats`: what a license used this month and what is left."""

from datetime import UTC, datetime
from math import ceil
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import quota
from licenses.decisions import decide
from licenses.views import LicensedView, peek_at_license


class UsageStatsSerializer(serializers.Serializer[Any]):
    """Usage of one license."""

    user_id = serializers.IntegerField(help_text="The license's number.")
    plan_tier = serializers.CharField(help_text="free, indie, pro or team.")
    ai_quota_used = serializers.IntegerField(min_value=0)
    ai_quota_total = serializers.IntegerField(min_value=0)
    ai_quota_remaining = serializers.IntegerField(min_value=0)
    this_month_cost_cents = serializers.IntegerField(min_value=0)
    rate_limit_remaining = serializers.IntegerField(min_value=0, help_text="Requests left in this minute.")
    rate_limit_reset_at = serializers.DateTimeField()
    quota_resets_at = serializers.DateTimeField()
    license_status = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class UsageStatsView(LicensedView):
    """Looks only: nothing is counted against the license."""

    @extend_schema(summary="Usage of one license", responses={200: UsageStatsSerializer})
    def get(self, request: Request) -> Response:
        license = self.holder(request).license
        state = quota.state_of(license)
        window = peek_at_license(request, license)
        stats = {
            "user_id": license.pk,
            "plan_tier": license.plan.slug,
            "ai_quota_used": state.used,
            "ai_quota_total": state.total,
            "ai_quota_remaining": state.remaining,
            "this_month_cost_cents": state.charged_cents,
            "rate_limit_remaining": window.remaining,
            "rate_limit_reset_at": datetime.fromtimestamp(ceil(window.resets_at), UTC),
            "quota_resets_at": state.resets_at,
            "license_status": decide(license, datetime.now(UTC)),
            "expires_at": license.ends_at,
        }
        return Response(UsageStatsSerializer(stats).data)
