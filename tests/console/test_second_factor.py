"""The door: password, then a code; enrolled at the first log-in. And who came in, when, and for how long."""

import re
import time

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.test import Client
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from remind_site.models import LogIn

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-password"


@pytest.fixture(autouse=True)
def _required(settings):
    settings.ADMIN_REQUIRE_2FA = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def anna():
    return get_user_model().objects.create_superuser("anna", "anna@example.com", PASSWORD)


@pytest.fixture
def door(client, address):
    """`door(path, **fields)`: a browser from an address of its own."""

    def door(path="/admin/login/", **fields):
        send = client.post if fields else client.get
        return send(path, fields or None, follow=True, REMOTE_ADDR=address)

    return door


def code(device, ahead=0):
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = time.time() + ahead * device.step
    return f"{totp.token():06d}"


def in_house(page):
    return page.status_code == 200 and page.request["PATH_INFO"] == "/admin/" and "Needs a person" in page.text


def enrol(door, user):
    page = door(username="anna", password=PASSWORD)
    assert "Set up your second factor" in page.text
    assert "<svg" in page.text
    device = TOTPDevice.objects.get(user=user)
    return device, door("/admin/second-factor/", code=code(device))


def test_enrolled_at_the_first_log_in_then_asked(door, anna, client):
    device, page = enrol(door, anna)
    codes = re.findall(r"<li><code>(\w+)</code></li>", page.text)
    assert len(set(codes)) == 10
    assert in_house(door("/admin/"))

    client.post("/admin/logout/")
    page = door(username="anna", password=PASSWORD)
    assert "authenticator app shows now" in page.text
    assert "<svg" not in page.text.split("authenticator app shows now")[1]
    assert not in_house(door("/admin/"))
    used = client.session.session_key
    assert "was used before" in door("/admin/second-factor/", code=code(device)).text
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert in_house(door("/admin/second-factor/", code=code(device, ahead=1)))
    assert client.session.session_key != used  # whoever had it with the password alone has nothing now
    what = list(LogIn.objects.order_by("id").values_list("what", flat=True))
    assert what == ["logged_in", "enrolled", "logged_out", "logged_in", "wrong_code", "second_factor"]
    assert set(LogIn.objects.values_list("username", flat=True)) == {"anna"}


def test_a_recovery_code_opens_once(door, anna, client):
    _, page = enrol(door, anna)
    recovery = re.findall(r"<li><code>(\w+)</code></li>", page.text)[0]
    for expected in (True, False):
        client.post("/admin/logout/")
        door(username="anna", password=PASSWORD)
        assert in_house(door("/admin/second-factor/", code=recovery.upper())) == expected
    assert LogIn.objects.filter(what="recovered").count() == 1


def test_the_password_alone_opens_no_page(door, anna, client, license):
    door(username="anna", password=PASSWORD)
    for path in (
        "", "find/", f"licenses/license/{license.pk}/change/", "act/issue-license/", "recovery-codes/",
        "billing/usagerecord/export/", "password_change/", "auth/user/", "search/?s=x", "jsi18n/",
    ):  # fmt: skip
        answer = client.get(f"/admin/{path}")
        assert answer.status_code == 302 or (path == "jsi18n/" and license.email not in answer.text), path
    assert client.post(f"/admin/act/suspend/{license.pk}/", {"reason": "x"}).status_code == 302
    license.refresh_from_db()
    assert license.suspended_at is None


def test_a_wrong_code_at_enrolment_enrols_nothing(door, anna):
    door(username="anna", password=PASSWORD)
    page = door("/admin/second-factor/", code="000000")
    assert "That code is wrong" in page.text
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert LogIn.objects.filter(what="wrong_code", username="anna").count() == 1
    for nonsense in ("x", "\x00", "٣٣٣٣٣٣", "9" * 20):
        assert door("/admin/second-factor/", code=nonsense).status_code == 200


def test_codes_are_not_guessed(door, anna, client):
    device, _ = enrol(door, anna)
    client.post("/admin/logout/")
    door(username="anna", password=PASSWORD)
    for _ in range(3):
        door("/admin/second-factor/", code="000000")
    page = door("/admin/second-factor/", code=code(device, ahead=1))
    assert not in_house(page)
    assert "There were wrong codes before. Wait" in page.text


def test_a_pause_after_wrong_codes_has_an_end(door, anna, client):
    device, _ = enrol(door, anna)
    client.post("/admin/logout/")
    door(username="anna", password=PASSWORD)
    TOTPDevice.objects.update(throttling_failure_count=50, throttling_failure_timestamp=timezone.now())
    page = door("/admin/second-factor/", code=code(device, ahead=1))
    assert 0 < int(re.search(r"Wait (\d+) seconds", page.text)[1]) <= 32


def test_the_right_code_right_after_a_wrong_recovery_code_is_not_called_wrong(door, anna, client):
    _, page = enrol(door, anna)
    recovery = re.findall(r"<li><code>(\w+)</code></li>", page.text)
    client.post("/admin/logout/")
    door(username="anna", password=PASSWORD)
    assert "is wrong" in door("/admin/second-factor/", code="abcdefgh").text
    page = door("/admin/second-factor/", code=recovery[0])
    assert "Wait 1 seconds" in page.text


def test_pages_opened_together_enrol_one_device(anna, start, database):
    """On the deployed service, since it takes real concurrency."""
    service = start(database, ADMIN_REQUIRE_2FA="on")
    script = (
        "from django.contrib.auth import get_user_model; from django.test import Client;"
        "user = get_user_model().objects.create_superuser('bo'); client = Client(); client.force_login(user);"
        "print(client.cookies['sessionid'].value)"
    )
    session = service.command("shell", "-v0", "-c", script).stdout.split()[-1]
    headers = {"Cookie": f"sessionid={session}"}
    answers = service.at_once(12, lambda: service.client.get("/admin/second-factor/", headers=headers))
    assert {answer.status_code for answer in answers} == {200}
    assert database.value("SELECT count(*) FROM otp_totp_totpdevice") == 1


def test_the_page_that_was_asked_for_is_led_to(door, anna, client, license):
    enrol(door, anna)
    client.post("/admin/logout/")
    wanted = f"/admin/licenses/license/{license.pk}/change/"
    page = door(f"/admin/login/?next={wanted}", username="anna", password=PASSWORD)
    TOTPDevice.objects.update(last_t=-1)
    form = page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"]
    assert "second-factor" in form
    answer = door(form, code=code(TOTPDevice.objects.get()))
    assert answer.request["PATH_INFO"] == wanted


def test_an_address_elsewhere_is_not_led_to(door, anna, client):
    enrol(door, anna)
    client.post("/admin/logout/")
    door(username="anna", password=PASSWORD)
    TOTPDevice.objects.update(last_t=-1)
    page = door("/admin/second-factor/?next=//evil.test/admin/", code=code(TOTPDevice.objects.get()))
    assert in_house(page)


def test_tries_are_limited_by_address(address, client, valkey, settings):
    def attempt(**meta):
        return client.post("/admin/login/", {"username": "anna", "password": "wrong"}, **meta)

    assert [attempt(REMOTE_ADDR=address).status_code for _ in range(11)] == [200] * 10 + [429]
    refused = attempt(REMOTE_ADDR=address)
    assert "Too many tries" in refused.text
    assert int(refused["Retry-After"]) > 0
    assert attempt().status_code == 200
    settings.REDIS_URL = ""
    assert client.get("/admin/login/", REMOTE_ADDR=address).status_code == 200
    assert LogIn.objects.filter(what="failed", address=address).count() == 10
    assert LogIn.objects.filter(what="blocked", address=address, username="anna").count() == 1  # of the two in a minute
    assert 'href="/admin/login/">To the log-in</a>' in refused.text


def test_an_address_is_limited_whatever_names_it_tries(address, client, anna):
    tries = [
        client.post("/admin/login/", {"username": f"user{number}", "password": "x"}, REMOTE_ADDR=address).status_code
        for number in range(31)
    ]
    assert tries == [200] * 30 + [429]


def test_what_succeeds_is_not_counted(door, anna, client):
    device, _ = enrol(door, anna)
    for _ in range(12):
        client.post("/admin/logout/")
        assert door(username="anna", password=PASSWORD).status_code == 200
        TOTPDevice.objects.update(last_t=-1)
        assert in_house(door("/admin/second-factor/", code=code(device)))


def test_a_token_typed_as_a_name_is_not_kept(door, token):
    door(username=token, password="x")
    assert token not in str(list(LogIn.objects.values()))


def test_one_can_leave_and_log_in_as_somebody_else(door, anna, client):
    door(username="anna", password=PASSWORD)
    assert "Log in" in door("/admin/second-factor/", leave="1").text
    assert "_auth_user_id" not in client.session


def test_others_see_the_log_in_page(client):
    assert client.get("/admin/second-factor/")["Location"] == "/admin/login/"
    client.force_login(get_user_model().objects.create_user("customer"))
    assert client.get("/admin/second-factor/")["Location"] == "/admin/login/"
    assert client.get("/admin/").status_code == 302


def test_without_the_setting_the_password_is_enough(door, anna, settings):
    settings.ADMIN_REQUIRE_2FA = False
    assert in_house(door(username="anna", password=PASSWORD))


def test_new_recovery_codes_end_the_old_ones(door, anna, client):
    _, page = enrol(door, anna)
    old = re.findall(r"<li><code>(\w+)</code></li>", page.text)
    assert "You have 10 left" in door("/admin/recovery-codes/").text
    assert "That code is wrong" in door("/admin/recovery-codes/", code="000000").text
    assert "This field is required" in door("/admin/recovery-codes/", code="").text
    assert StaticToken.objects.count() == 10
    assert LogIn.objects.filter(what="wrong_code").exists()
    TOTPDevice.objects.update(last_t=-1, throttling_failure_count=0, throttling_failure_timestamp=None)
    page = door("/admin/recovery-codes/", code=code(TOTPDevice.objects.get()))
    new = re.findall(r"<li><code>(\w+)</code></li>", page.text)
    assert not set(old) & set(new)
    assert len(new) == 10


def test_idle_for_long_is_logged_out(door, anna, client, settings):
    enrol(door, anna)
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"]
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    session = Session.objects.get()
    left = session.expire_date - timezone.now()
    assert 0 < left.total_seconds() <= django_settings.ADMIN_IDLE_MINUTES * 60
    Session.objects.update(expire_date=timezone.now() + (left - left) + left / 2)
    assert in_house(door("/admin/"))  # each page counts the time anew
    assert Session.objects.get().expire_date - timezone.now() > left / 2
    Session.objects.update(expire_date=timezone.now())
    assert not in_house(door("/admin/"))
    other = Client()
    assert other.get("/admin/").status_code == 302
