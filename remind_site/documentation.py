"""The API's documentation for developers: the OpenAPI description, and a page over it that needs no internet.

What the description says is read off the views, and completed in `remind_site.schema`.
"""

import threading
from functools import cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from licenses.views import ApiView

_generating = threading.Lock()


class SchemaView(ApiView):
    """The description itself. It never changes while a process runs, so it is made once."""

    @extend_schema(summary="This description", responses={200: {"type": "object"}})
    def get(self, request: Request) -> Response:
        with _generating:  # the generator keeps state of its own, and several at once trip over it
            return Response(_description())


class DocsView(ApiView):
    """Swagger UI over the description, with assets and a script of our own, so that its page runs nothing inline."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return render(request._request, "docs.html")


@cache
def _description() -> Any:
    generator: Any = SchemaGenerator
    return generator().get_schema(request=None, public=True)
