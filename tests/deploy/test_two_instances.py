"""Two instances that share nothing but the database and the cache: a client may ask either, at any time."""

import itertools
import re

import pytest

from tests.service import codes
from tests.suggestions.test_at_once import assert_books


@pytest.fixture
def instances(start, database):
    return [start(database, WEB_CONCURRENCY="1", TRUSTED_PROXY_COUNT="1") for _ in range(2)]


def test_limits_and_quotas_are_exact_across_them(instances, provider):
    first, second = instances
    turns = itertools.cycle(instances)

    def all_at_once(count, token, **headers):
        return first.at_once(count, lambda: next(turns).suggest(token, **headers))

    # The month's quota.
    assert codes(all_at_once(200, first.issue(quota=37))) == {"ok": 37, "quota_exhausted": 163}
    assert provider.calls == 37
    assert_books(first, 37)

    # The license's rate.
    assert codes(all_at_once(100, second.issue(rate="25/m"))) == {"ok": 25, "rate_limited": 75}

    # One key is one charge, and either gives the answer again.
    token, key = first.issue(), {"Idempotency-Key": "the-one"}
    provider.delay = 0.3
    found = codes(all_at_once(20, token, **key))
    assert set(found) <= {"ok", "idempotency_in_progress"}
    assert len({service.suggest(token, **key).text for service in instances}) == 1
    assert provider.calls == 37 + 25 + 1
    assert_books(second, 37 + 25 + 1)

    # What one did, the other knows at once.
    last = "from licenses import lifecycle; from licenses.models import License; last = License.objects.latest('id')"
    suspend = f"{last}; lifecycle.suspend(last, by='test', reason='to see')"
    first.command("shell", "-c", suspend)
    assert codes([second.suggest(token)]) == {"license_suspended": 1}


def test_the_address_limit_is_exact_across_them(start, database):
    limits = {"RATE_LIMIT_REQUESTS": "30", "TRUSTED_PROXY_COUNT": "1", "WEB_CONCURRENCY": "1"}
    instances = itertools.cycle([start(database, **limits) for _ in range(2)])
    client = {"X-Forwarded-For": "198.51.100.7"}

    answers = next(instances).at_once(100, lambda: next(instances).client.get("/api/v1/schema", headers=client))

    assert sorted(answer.status_code for answer in answers) == [200] * 30 + [429] * 70


def test_a_person_who_logged_in_at_one_is_known_to_the_other(instances):
    first, second = instances
    first.env |= {"DJANGO_SUPERUSER_PASSWORD": "of-the-console-only"}
    first.command("createsuperuser", "--noinput", "--username", "anna", "--email", "anna@example.com")
    page = first.client.get("/admin/login/")
    form = {
        "username": "anna",
        "password": "of-the-console-only",
        "csrfmiddlewaretoken": re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)[1],
    }
    second.client.cookies.update(first.client.cookies)

    assert second.client.post("/admin/login/", data=form).status_code == 302
    assert first.client.get("/admin/").status_code == 302
    first.client.cookies.update(second.client.cookies)
    assert first.client.get("/admin/").status_code == 200
