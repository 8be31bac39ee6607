"""What a request for a suggestion may hold and what its answer looks like, as DRF checks and describes it."""

from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


@cache
def _timezones() -> frozenset[str]:
    # Without those that stand for the machine's own setting, which is no place.
    return frozenset(available_timezones() - {"localtime", "Factory"})


class StrictCharField(serializers.CharField):
    """A string and nothing else; DRF's own field also takes numbers."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


# Not only of what Python trims (more than other languages' \s), and without NUL, which no database keeps.
@extend_schema_field({"type": "string", "maxLength": 1000, "pattern": r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"})
class ReminderTextField(StrictCharField):
    """A rough reminder."""


@extend_schema_field({"type": "string", "format": "iana-timezone"})
class TimezoneField(StrictCharField):
    """An IANA timezone name, read into a `ZoneInfo`."""

    default_error_messages = {"unknown": "This is no IANA timezone name, such as Europe/Berlin."}

    def to_internal_value(self, data: Any) -> ZoneInfo:  # type: ignore[override]
        name = super().to_internal_value(data)
        if name not in _timezones():
            self.fail("unknown")
        return ZoneInfo(name)


class AskSerializer(serializers.Serializer[Any]):
    """The body of a request for a suggestion."""

    license_token = serializers.CharField(
        required=False, write_only=True, help_text="Where it does not come as a Bearer token."
    )
    reminder_text = ReminderTextField(max_length=1000, help_text="The rough reminder, counted after trimming.")
    timezone = TimezoneField(required=False, help_text="IANA name; UTC where left out.")


class AnswerSerializer(serializers.Serializer[Any]):
    """A better reminder."""

    suggested_text = serializers.CharField(min_length=1, max_length=300)
    priority = serializers.ChoiceField(choices=["low", "medium", "high"])
    due_time_suggestion = serializers.CharField(
        allow_null=True, help_text="The due time in words that dateparser reads as the same instant."
    )
    due_at = serializers.DateTimeField(allow_null=True, help_text="The same instant, in the request's timezone.")
    cost_cents = serializers.IntegerField(min_value=0, help_text="What this was charged; 0 when degraded.")
    input_tokens = serializers.IntegerField(min_value=0)
    output_tokens = serializers.IntegerField(min_value=0)
    model = serializers.CharField(help_text="Which model answered.")
    degraded = serializers.BooleanField(
        help_text="The provider failed and the built-in fallback answered: nothing is charged, no quota used."
    )
    quota_remaining = serializers.IntegerField(min_value=0, help_text="This month, after this call.")
