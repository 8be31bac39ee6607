"""A Django view and a DRF view that read JSON and answer JSON, and nothing else: what any service here costs at least.

    gunicorn tests.load.bare

with the checked-in configuration: the same worker, threads and processes as the service, none of its middleware.
"""

import json
from typing import Any

from django.conf import settings

settings.configure(
    SECRET_KEY="none",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=[],
    USE_I18N=False,
    LOGGING_CONFIG=None,
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
    },
)

import django  # noqa: E402

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

ANSWER = {"suggested_text": "Meet John about Q1", "priority": "medium", "degraded": False}


class Ask(serializers.Serializer[Any]):
    """The one field that the service needs."""

    reminder_text = serializers.CharField(max_length=1000)


class RestView(APIView):
    """As little of DRF as a view can have that validates."""

    def post(self, request: Request) -> Response:
        form = Ask(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(ANSWER)


def django_view(request: HttpRequest) -> HttpResponse:
    """As little of Django as a view can have that reads its input."""
    json.loads(request.body)["reminder_text"]
    return JsonResponse(ANSWER, json_dumps_params={"separators": (",", ":")})


urlpatterns = [path("django", django_view), path("rest", RestView.as_view())]
application = get_wsgi_application()
