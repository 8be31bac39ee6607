"""Every address of the service. API routes answer with and without a trailing slash, never by a redirect."""

from django.contrib import admin
from django.urls import path, re_path

from billing import checkout
from billing.paddle.webhook import PaddleWebhookView
from billing.views import UsageStatsView
from remind_site.documentation import DocsView, SchemaView
from remind_site.health import HealthView, ReadyView
from remind_site.metrics.view import MetricsView
from suggestions.views import SuggestReminderView

suggest = SuggestReminderView.as_view()
stats = UsageStatsView.as_view()
health = HealthView.as_view()

urlpatterns = [
    re_path(r"^api/v1/suggest-reminder/?$", suggest, name="suggest-reminder"),
    re_path(r"^api/v1/ai/?$", suggest, name="ai"),
    re_path(r"^api/v1/usage/stats/?$", stats, name="usage-stats"),
    re_path(r"^api/v1/usage-stats/?$", stats, name="usage-stats-flat"),
    re_path(r"^api/v1/checkout/free/?$", checkout.free, name="checkout-free"),
    re_path(r"^api/v1/checkout/free/confirm/?$", checkout.confirm_free, name="checkout-free-confirm"),
    re_path(r"^api/v1/checkout/(?P<plan>[a-z0-9-]+)/?$", checkout.checkout, name="checkout"),
    re_path(r"^pay/?$", checkout.pay, name="pay"),
    re_path(r"^webhooks/paddle/?$", PaddleWebhookView.as_view(), name="paddle-webhook"),
    re_path(r"^api/v1/health/?$", health, name="api-health"),
    re_path(r"^health/?$", health, name="health"),
    re_path(r"^health/ready/?$", ReadyView.as_view(), name="ready"),
    re_path(r"^metrics/?$", MetricsView.as_view(), name="metrics"),
    re_path(r"^api/v1/schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^api/v1/docs/?$", DocsView.as_view(), name="docs"),
    path("admin/", admin.site.urls),
]

handler400 = "remind_site.api.bad_request"
handler403 = "remind_site.api.permission_denied"
handler404 = "remind_site.api.page_not_found"
handler500 = "remind_site.api.server_error"
