"""`/api/v1/checkout/free`: a free license by mail, once an address."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core import signing
from django.test import Client

from billing import housekeeping, links
from billing.models import Mail
from licenses.models import License
from tests.mailbox import html_of, text_of

pytestmark = pytest.mark.django_db
FORM = "/api/v1/checkout/free"
CONFIRM = "/api/v1/checkout/free/confirm"
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def ask(client, valkey, address):
    def ask(email, **more):
        return client.post(FORM, {"email": email}, headers=BROWSER, **{"REMOTE_ADDR": address, **more})

    return ask


@pytest.fixture
def confirm(client):
    def confirm(email):
        return client.post(CONFIRM, {"proof": links.address_proof(email)}, headers=BROWSER)

    return confirm


def test_from_the_form_to_a_token_that_works(client, ask, mailbox, post):
    others = License.objects.count()
    assert "jo@example.com" in client.get(FORM, {"email": "jo@example.com"}).text
    assert "on its way" in ask("Jo@example.com").text
    assert License.objects.count() == others
    housekeeping.run()
    (mail,) = mailbox.to("jo@example.com", "Confirm")
    (link,) = re.findall(r"http://localhost:8000(\S+)", text_of(mail))
    assert link.replace("&", "&amp;") in html_of(mail)

    page = client.get(link, headers=BROWSER)
    assert (page.status_code, License.objects.count()) == (200, others)  # looking is not asking
    proof = re.search(r'name="proof" value="([^"]+)"', page.text).group(1)
    assert "on its way" in client.post(CONFIRM, {"proof": proof}).text.replace("It is on", "on")
    housekeeping.run()
    (mail,) = mailbox.to("jo@example.com", "Your Remind license")
    token = re.search(r"remind login (remind_free_\S+)", text_of(mail)).group(1)
    assert post(bearer=token).json()["quota_remaining"] == 4


@pytest.mark.parametrize("again", ["jo@example.com", "JO@Example.com", "jo+more@example.com", "Jo+a+b@example.com"])
def test_once_an_address(again, confirm, ask, mailbox):
    assert "on its way" in confirm("jo@example.com").text
    assert "You have one already" in confirm(again).text
    assert License.objects.count() == 1
    same_words = ask("other@example.com").text.replace("other@example.com", again.lower())
    assert ask(again).text == same_words
    assert Mail.objects.filter(kind="confirm_free").count() == 2, "the same work too, which a clock could tell apart"


def test_confirmed_by_many_at_once(start):
    service = start()
    page = service.client.get(CONFIRM, params={"proof": links.address_proof("jo@example.com")})
    fields = dict(re.findall(r'name="(\w+)" value="([^"]+)"', page.text))
    assert set(fields) == {"proof", "csrfmiddlewaretoken"}
    answers = service.at_once(12, lambda: service.client.post(CONFIRM, data=fields))
    assert {answer.status_code for answer in answers} == {200}
    assert sum("It is on its way" in answer.text for answer in answers) == 1
    assert service.database.value("SELECT count(*) FROM licenses_license") == 1
    assert service.database.value("SELECT count(*) FROM billing_mail") == 1


@pytest.mark.parametrize("proof", ["", "x", "jo@example.com", "ImpvQGV4YW1wbGUuY29tIg:1abc:forged"])
def test_no_proof(proof, client):
    for answer in (client.get(CONFIRM, {"proof": proof}), client.post(CONFIRM, {"proof": proof})):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_proof_of_something_else_or_too_old(client, monkeypatch):
    other = signing.dumps("jo@example.com", salt=links.LICENSE)
    assert client.post(CONFIRM, {"proof": other}).status_code == 400
    late = datetime.now(UTC) - links.CONFIRM_WITHIN - timedelta(seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr("django.core.signing.time.time", late.timestamp)
        proof = links.address_proof("jo@example.com")
    assert client.post(CONFIRM, {"proof": proof}).status_code == 400
    assert not License.objects.exists()


@pytest.mark.parametrize("email", ["", "jo", "jo@", "<b>@example.com", "a" * 300 + "@example.com"])
def test_no_address(email, ask):
    page = ask(email)
    assert page.status_code == 400
    assert 'class="error"' in page.text
    assert "<b>" not in page.text
    assert not Mail.objects.exists()


def test_an_address_is_not_flooded_with_mails(ask):
    answers = [ask("jo@example.com", REMOTE_ADDR=f"10.77.0.{number}") for number in range(1, 6)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert ask("jo+a@example.com", REMOTE_ADDR="10.77.0.9").status_code == 429
    assert Mail.objects.count() == 3


def test_one_network_asks_for_few(ask):
    answers = [ask(f"jo{number}@example.com") for number in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert "Too many tries" in answers[-1].text


def test_forms_of_others_are_refused(valkey):
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post(FORM, {"email": "jo@example.com"}, headers=BROWSER)
    assert answer.status_code == 403
    assert "load it again" in answer.text
    assert strict.post(FORM, {"email": "jo@example.com"}).json()["code"] == "forbidden"


def test_pages_are_kept_nowhere_and_run_nothing(client, confirm):
    for page in (
        client.get(FORM),
        client.get(CONFIRM, {"proof": links.address_proof("a@b.example")}),
        confirm("a@b.co"),
    ):
        assert page["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert (page["Cache-Control"], page["Referrer-Policy"]) == ("no-store", "same-origin")


def test_the_proof_is_in_no_log(client, logs):
    proof = links.address_proof("jo@example.com")
    client.get(CONFIRM, {"proof": proof})
    assert proof not in (logs / "tests.log").read_text()
