"""UTC calendar months, which quotas are counted in."""

from datetime import UTC, date, datetime


def month_of(moment: datetime) -> date:
    """The first day of the UTC month that an aware moment lies in."""
    return moment.astimezone(UTC).date().replace(day=1)


def start_of_next(month: date) -> datetime:
    """When the month after this one begins (UTC): the moment at which its quota resets."""
    year, index = divmod(month.year * 12 + month.month, 12)
    return datetime(year, index + 1, 1, tzinfo=UTC)
