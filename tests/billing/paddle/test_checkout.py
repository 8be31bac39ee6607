"""`GET /api/v1/checkout/<plan>` and `/pay`: from the client's browser to Paddle's checkout."""

import time

import pytest

from billing import links
from billing.models import PlanPrice
from billing.paddle import api
from licenses.models import Plan
from tests.paddle import Life

pytestmark = pytest.mark.django_db
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def buy(client, paddle, prices, valkey, address):
    """`buy(plan, **query)`: open the checkout, as a browser where asked for."""

    def buy(plan="pro", *, browser=False, **query):
        return client.get(f"/api/v1/checkout/{plan}", query, headers=BROWSER if browser else {}, REMOTE_ADDR=address)

    return buy


def unavailable(answer):
    assert (answer.status_code, answer.json()["code"]) == (503, "checkout_unavailable")
    assert int(answer["Retry-After"]) > 0
    return True


def test_it_leads_to_paddles_checkout(buy, paddle):
    answer = buy()
    (transaction,) = paddle.transactions.values()
    assert (answer.status_code, answer["Location"]) == (303, transaction["checkout"]["url"])
    assert paddle.calls == [
        ("POST", "/transactions", {"items": [{"price_id": "pri_pro_month", "quantity": 1}]}),
    ]
    assert paddle.keys == ["Bearer pdl_sdbx_apikey_test"]
    assert answer["Cache-Control"] == "no-store"


def test_a_year(buy, paddle):
    assert buy(interval="year").status_code == 303
    assert paddle.asked("POST", "/transactions")[0]["items"] == [{"price_id": "pri_pro_year", "quantity": 1}]


def test_an_address_is_filled_in_for_new_and_known_customers(buy, paddle, prices):
    assert buy(email="New@Example.com").status_code == 303
    ((new, data),) = paddle.customers.items()
    assert data["email"] == "new@example.com"
    known = Life(prices["pro"], email="known@example.com")
    paddle.add(known)
    assert buy(email="known@example.com").status_code == 303
    assert [body["customer_id"] for body in paddle.asked("POST", "/transactions")] == [new, known.customer_id]


def test_a_license_that_we_signed_is_passed_on_and_no_other(buy, paddle, license):
    reference = links.license_reference(license)
    for given in (reference, str(license.pk), reference[:-1], ""):
        assert buy(license=given).status_code == 303
    passed = [body.get("custom_data") for body in paddle.asked("POST", "/transactions")]
    assert [data and links.license_of(data["license"]) for data in passed] == [license, None, None, None]


def test_the_upgrade_link_of_a_mail_leads_here(client, paddle, prices, license):
    link = links.upgrade_url(license)
    assert client.get(link.removeprefix("http://localhost:8000")).status_code == 303
    (body,) = paddle.asked("POST", "/transactions")
    assert (body["items"][0]["price_id"], links.license_of(body["custom_data"]["license"])) == (
        "pri_team_month",
        license,
    )


@pytest.mark.parametrize("plan", ["gold", "PRO", "hidden", "off", "%00", "pro%2Fx", "pro.", "ü"])
def test_an_unknown_plan(plan, buy, paddle):
    Plan.objects.create(slug="hidden", name="Hidden", monthly_quota=1, price_cents=1, is_public=False)
    Plan.objects.create(slug="off", name="Off", monthly_quota=1, price_cents=1, is_active=False)
    answer = buy(plan)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not paddle.calls


@pytest.mark.parametrize("query", [{"interval": "week"}, {"email": "nobody"}, {"email": "a@b\0.com"}])
def test_a_bad_wish(query, buy, paddle):
    answer = buy(**query)
    assert (answer.status_code, answer.json()["code"], set(answer.json()["errors"])) == (400, "invalid", set(query))
    assert not paddle.calls


@pytest.mark.parametrize("fault", ["too_many", "failing", "html", "reset", "hang"])
def test_paddle_down(fault, buy, paddle, monkeypatch):
    monkeypatch.setattr(api, "TIMEOUT", 0.3)
    paddle.mode = fault
    assert unavailable(buy())
    page = buy(browser=True)
    assert (page.status_code, page["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "nothing was charged" in page.text.replace("\n", " ")
    assert page["X-Request-ID"] in page.text


def test_paddle_refuses_without_its_words_reaching_anybody(buy, paddle, prices):
    paddle.customers["ctm_1"] = {"email": "known@example.com"}  # an id of no form that we know
    assert unavailable(buy(email="known@example.com"))


def test_payments_that_are_not_set_up(buy, settings, paddle):
    PlanPrice.objects.filter(plan__slug="team").update(is_offered=False)
    assert unavailable(buy("team"))
    settings.PADDLE_API_KEY = ""
    assert unavailable(buy())
    assert not paddle.calls


@pytest.mark.parametrize("method", ["head", "options", "post", "put", "delete"])
@pytest.mark.parametrize("path", ["/api/v1/checkout/pro", "/pay"])
def test_only_get(method, path, client, paddle, prices):
    answer = getattr(client, method)(path)
    assert (answer.status_code, answer["Allow"]) == (405, "GET")
    assert not paddle.calls


def test_too_many_checkouts_from_one_address(buy, paddle):
    answers = [buy() for _ in range(21)]
    assert [answer.status_code for answer in answers] == [303] * 20 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1]["Retry-After"]) > 0
    assert len(paddle.transactions) == 20


def test_a_paddle_that_hangs_is_given_up_in_time(buy, paddle):
    assert api.TIMEOUT * 2 < 20  # a customer and a transaction, one after the other
    paddle.mode = "hang"
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "TIMEOUT", 0.2)
        assert unavailable(buy(email="a@example.com"))
    assert time.monotonic() - began < api.TIMEOUT


def test_the_payment_page(client, settings):
    settings.PADDLE_CLIENT_TOKEN = "test_client_token"
    page = client.get("/pay", {"_ptxn": "txn_1"})
    assert page.status_code == 200
    assert 'data-token="test_client_token"' in page.text
    assert 'data-environment="sandbox"' in page.text
    assert 'src="https://cdn.paddle.com/paddle/v2/paddle.js"' in page.text
    assert "<noscript>" in page.text
    policy = dict(part.strip().split(" ", 1) for part in page["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' https://cdn.paddle.com"
    assert "https://sandbox-buy.paddle.com" in policy["frame-src"]
    settings.PADDLE_ENVIRONMENT = "production"
    assert "sandbox" not in client.get("/pay/")["Content-Security-Policy"]


def test_the_payment_page_where_payments_are_off(client, settings):
    assert unavailable(client.get("/pay"))
    assert client.get("/pay", headers=BROWSER)["Content-Type"].startswith("text/html")
