"""A prepared query is the queryset that it was made from."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from licenses import lifecycle
from licenses.models import License, LicenseToken, Plan
from licenses.prepared import Later, _Query
from licenses.views import TOKEN_BY_DIGEST
from suggestions.views import TOKEN_AND_KEY
from tests.factories import LicenseFactory


def fields(row):
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.django_db
def test_it_finds_what_the_queryset_finds_and_nothing_else():
    tokens = [lifecycle.add_token(LicenseFactory(), by="test")[0] for _ in range(3)]
    for token in tokens:
        usual = LicenseToken.objects.select_related("license__plan").get(digest=token.digest)
        with CaptureQueriesContext(connection) as asked:
            found = TOKEN_BY_DIGEST.one(digest=token.digest)
            with_key = TOKEN_AND_KEY.one(digest=token.digest, key="k")
            for row in (found, with_key):
                assert fields(row) == fields(usual)
                assert fields(row.license) == fields(usual.license)
                assert fields(row.license.plan) == fields(usual.license.plan)
        assert len(asked) == 2
        assert with_key.key_is_known is False
        assert [type(found), type(found.license), type(found.license.plan)] == [LicenseToken, License, Plan]
        assert found._state.adding is False
    assert TOKEN_BY_DIGEST.one(digest="0" * 64) is None


def test_the_values_that_come_later_are_the_only_ones_that_vary():
    query = _Query.of(TOKEN_AND_KEY.queryset())
    assert {str(value) for value in query.parameters if isinstance(value, Later)} == {"digest", "key"}


@pytest.mark.django_db
def test_a_statement_is_planned_once_whatever_the_numbers_sizes(post):
    for number in (70, 70_000, 7_000_000_000):
        license = LicenseFactory(pk=number, quota_override=5 + number % 1_000_000)
        assert post(bearer=lifecycle.add_token(license, by="test")[1]).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, count(*) FROM pg_prepared_statements GROUP BY statement")
        planned = dict(cursor.fetchall())
    assert len([statement for statement in planned if "billing_usagerecord" in statement]) >= 2
    assert set(planned.values()) == {1}
