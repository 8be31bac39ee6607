"""Finding a customer by whatever support was given, and a whole token that is left nowhere."""

from datetime import timedelta

import pytest

from licenses import lifecycle, tokens
from licenses.lifecycle import add_token
from tests.billing.paddle.outcome import license_of
from tests.factories import LicenseFactory
from tests.paddle import Life

pytestmark = pytest.mark.django_db


def find(staff, term):
    return staff.post("/admin/find/", {"term": term})


def leads_to(answer, license):
    return answer.status_code == 302 and answer["Location"] == f"/admin/licenses/license/{license.pk}/change/"


def test_by_email_number_prefix_and_request_id(staff, license, token, post):
    post()
    request_id = license.usage_records.get().request_id
    prefix = tokens.visible_prefix(token)
    for term in (
        license.email,
        license.email.upper(),
        f" {license.pk} ",
        f"#{license.pk}",
        f"License {license.pk}",
        prefix,
        request_id,
    ):
        assert leads_to(find(staff, term), license), term


@pytest.mark.parametrize("chosen", ["order-77", "3F2504E0-4F89-41D3-9A0C-0305E82C3301", "a.b_c"])
def test_by_a_request_id_that_the_client_chose(staff, license, post, chosen):
    post(headers={"X-Request-ID": chosen})
    post(headers={"X-Request-ID": chosen})
    assert set(license.usage_records.values_list("request_id", flat=True)) == {chosen}
    assert leads_to(find(staff, chosen), license)


def test_a_request_id_that_is_somebodys_name_hides_nobody(staff, license, post):
    other = LicenseFactory(email="smith@example.com")
    post(headers={"X-Request-ID": "smith"})
    page = find(staff, "smith").text
    for one in (license, other):
        assert f"/admin/licenses/license/{one.pk}/change/" in page


def test_a_number_that_is_a_license_and_a_request_shows_both(staff, license, post):
    other = LicenseFactory()
    post(headers={"X-Request-ID": str(other.pk)})
    page = find(staff, str(other.pk)).text
    for one in (license, other):
        assert f"/admin/licenses/license/{one.pk}/change/" in page


def test_by_every_id_of_paddles(staff, deliver, prices, paddle):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed(), life.adjusted("refund", kind="partial"))
    from billing.models import Adjustment, Payment, WebhookEvent

    for term in (life.customer_id, life.subscription_id, life.transaction_id, Adjustment.objects.get().paddle_id):
        assert leads_to(find(staff, term), license_of(life)), term
    for event in WebhookEvent.objects.all():
        assert leads_to(find(staff, event.event_id), license_of(life)), event
    Payment.objects.update(subscription=None)  # not heard of yet
    assert leads_to(find(staff, life.transaction_id), license_of(life))


def test_several_are_listed_with_their_status(staff):
    one, two = LicenseFactory(email="jo@a.example"), LicenseFactory(email="jo@b.example")
    page = find(staff, "jo@")
    assert page.status_code == 200
    for license in (one, two):
        assert f"/admin/licenses/license/{license.pk}/change/" in page.text
        assert license.email in page.text
    assert page.text.count('class="status active"') == 2


@pytest.mark.parametrize(
    "term", ["nobody", "999999", "9" * 40, "remind_", "sub_nope", "\x00", "%", "'", "٣", "a" * 5000, "<b>x</b>"]
)
def test_what_is_not_there_is_said_so(staff, license, term):
    page = find(staff, term)
    assert page.status_code == 200
    assert "<b>x</b>" not in page.text
    assert "Nothing found" in page.text or not term.replace("\x00", "").strip()


def test_a_whole_token_leads_to_its_license_and_is_left_nowhere(staff, license, token, logs, rf):
    answer = find(staff, token)
    assert leads_to(answer, license)
    page = staff.get(answer["Location"])
    assert token not in page.text
    assert f"token that begins with {tokens.visible_prefix(token)}" in page.text
    assert token not in (logs / "tests.log").read_text()


def test_a_token_that_ended_is_said_to_have_ended(staff, license, token):
    row = license.tokens.get()
    lifecycle.phase_out(row, by="x")
    assert "That token is replaced, and goes on until" in staff.get(find(staff, token)["Location"]).text
    lifecycle.phase_out(row, by="x", grace=timedelta(seconds=-1))
    assert "That token was replaced, and ended" in staff.get(find(staff, token)["Location"]).text
    lifecycle.revoke(row, by="x")
    row.refresh_from_db()
    said = f"That token was revoked {row.revoked_at:%-d %b %Y, %H:%M} UTC"
    assert said in staff.get(find(staff, token)["Location"]).text


def ways_to_paste(token):
    _, slug, secret = token.split("_")
    return [
        f"Bearer {token}", f"token: {token}", f'"{token}"', f"{token}.", token.upper(), f"  <{token}>, it says",
        f"{token[:20]} {token[20:]}", f"{token[:20]}\r\n{token[20:]}", f"{token[:5]}\u00a0{token[5:]}",
        f"remind-{slug}-{secret}", f"remind%5F{slug}%5F{secret}", f"remind \\_{slug} _{secret[:9]}\u200b{secret[9:]}",
    ]  # fmt: skip


def test_a_token_is_found_however_it_was_pasted(staff, license, token):
    for written in ways_to_paste(token):
        assert leads_to(find(staff, written), license), written


def test_nothing_that_follows_remind_is_repeated(staff, license):
    foreign = tokens.mint("pro")
    secret = foreign.rpartition("_")[2]
    mistyped = [f"{foreign[:15]} {foreign[15:-1]}", foreign[:-1].replace("_", "-"), foreign.replace("_", " ")]
    for written in [*ways_to_paste(foreign), *mistyped, f"jo@remind.dev {foreign[:30]}"]:
        page = find(staff, written)
        assert "Nothing found" in page.text, written
        assert secret[:6] not in page.text.lower(), written  # fewer stand in a page by chance: it has random parts
    assert "“jo@remind.dev”" in find(staff, "jo@remind.dev").text


def test_a_mistyped_token_leads_to_the_license_of_the_one_that_begins_so(staff, license, token):
    for written in (token[:-1], f"Bearer {token[:24]}x", token[:-1] + ("0" if token[-1] != "0" else "1")):
        answer = find(staff, written)
        assert leads_to(answer, license)
        assert "is not a whole one, or is mistyped" in staff.get(answer["Location"]).text


def test_a_refused_calls_request_id_is_said_to_be_in_the_log(staff, post):
    request_id = post(bearer="remind_x").json()["request_id"]
    page = find(staff, request_id)
    assert "leaves none: its id is in the log" in page.text


def test_what_is_at_paddle_and_has_no_license_is_found(staff, deliver, prices, paddle):
    from billing.models import Customer, Payment, Subscription, WebhookEvent

    life = Life("pri_unknown")
    deliver(life.customer(), life.created(), life.completed())
    event = WebhookEvent.objects.filter(subject=life.subscription_id).first()
    for term, row in [
        (life.subscription_id, Subscription.objects.get()), (life.transaction_id, Payment.objects.get()),
        (life.customer_id.upper(), Customer.objects.get()), (event.event_id, event),
    ]:  # fmt: skip
        answer = find(staff, term)
        assert answer["Location"] == f"/admin/billing/{row._meta.model_name}/{row.pk}/change/"
    assert "No license belongs to this yet" in staff.get(answer["Location"]).text
    WebhookEvent.objects.update(subject="sub_only0heard0of")
    assert find(staff, "sub_only0heard0of")["Location"].startswith("/admin/billing/webhookevent/")


def test_a_whole_token_that_is_nobodys_is_not_repeated(staff, license):
    foreign = tokens.mint("pro")
    page = find(staff, foreign)
    assert "Nothing found" in page.text
    assert foreign not in page.text


def test_the_page_about_a_customer_says_it_all(staff, deliver, prices, paddle, mailbox, client):
    life = Life(prices["pro"])
    deliver(life.customer(), life.created(), life.completed())
    license = license_of(life)
    token = add_token(license, by="test", label="laptop")[1]
    client.post("/api/v1/suggest-reminder", {"reminder_text": "call mum"}, "application/json",
                headers={"Authorization": f"Bearer {token}"})  # fmt: skip
    page = staff.get(f"/admin/licenses/license/{license.pk}/change/").text
    for said in (
        license.email, "May act until", "1 of 1,000, resets 1 ", "laptop", life.subscription_id, life.transaction_id,
        "Answered", license.usage_records.get().request_id, "Token issued", "your token", "$",
    ):  # fmt: skip
        assert said in page, said


def test_what_does_not_fit_on_the_page_is_linked(staff, license):
    path = f"/admin/licenses/license/{license.pk}/change/"
    link = f"/admin/licenses/licensetoken/?license__id__exact={license.pk}"
    for number in range(21):
        add_token(license, by="test", label=f"machine {number}")
    assert link in staff.get(path).text
    assert "machine 0<" not in staff.get(path).text
    assert staff.get(link).context["cl"].queryset.count() == 21


def test_the_page_costs_a_bounded_number_of_queries(staff, license, token, post, django_assert_max_num_queries):
    for _ in range(30):
        post()
    staff.get("/admin/")
    with django_assert_max_num_queries(30):
        page = staff.get(f"/admin/licenses/license/{license.pk}/change/")
    assert page.status_code == 200


def test_nothing_that_a_customer_typed_is_markup(staff, deliver, prices, paddle):
    from billing.models import Customer, UsageRecord, WebhookEvent

    life = Life(prices["pro"])
    deliver(life.customer(name="<img src=x onerror=alert(1)>"), life.created(), life.completed())
    license = license_of(life)
    UsageRecord.objects.create(
        license=license, plan=license.plan, month="2026-11-01", request_id="<b>id</b>", model="<i>m</i>",
        created_at=license.created_at,
    )  # fmt: skip
    event = WebhookEvent.objects.filter(event_type="customer.created").get()
    assert Customer.objects.get().name.startswith("<img")
    for path in (
        "billing/customer/", f"billing/webhookevent/{event.pk}/change/", f"licenses/license/{license.pk}/change/",
        "billing/usagerecord/",
    ):  # fmt: skip
        page = staff.get(f"/admin/{path}").text
        for markup in ("<img src=x", "<b>id", "<i>m"):
            assert markup not in page, path


def test_unfolds_own_search_is_closed(staff):
    assert staff.get("/admin/search/", {"s": "x"}).status_code == 404
