"""`paddle_check`, `paddle_replay` and `paddle_sync`, against a real server that speaks Paddle's API."""

import io
import json
import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from billing import housekeeping
from billing.models import PlanPrice, Subscription, WebhookEvent
from billing.paddle import api, events
from licenses.decisions import Decision, decide
from licenses.models import License, Plan
from tests.paddle import SECRET, Life, event, stamp
from tests.service import run_command

pytestmark = pytest.mark.django_db
READ = ("notification settings", "prices")
MOMENT = timedelta(seconds=0.05)


def run(name, *args):
    """What a command prints, and the problem it ends with ('' where none)."""
    out = io.StringIO()
    try:
        call_command(name, *args, stdout=out, stderr=out)
    except CommandError as problem:
        return out.getvalue(), str(problem)
    return out.getvalue(), ""


@pytest.fixture
def set_up(settings, paddle, prices, monkeypatch):
    """All as docs/PADDLE.md says."""
    monkeypatch.delenv("TEST_MODE", raising=False)
    settings.PADDLE_CLIENT_TOKEN = "test_client"
    settings.SITE_URL = "https://api.example.com"
    for price in PlanPrice.objects.select_related("plan"):
        paddle.prices[price.price_id] = {
            "id": price.price_id,
            "status": "active",
            "billing_cycle": {"interval": price.interval, "frequency": 1},
            "unit_price": {"amount": str(price.plan.price_cents), "currency_code": "USD"},
        }
    paddle.destinations = [
        {
            "id": "ntfset_1",
            "destination": "https://api.example.com/webhooks/paddle",
            "type": "url",
            "active": True,
            "traffic_source": "all",
            "endpoint_secret_key": SECRET,
            "subscribed_events": [{"name": name} for name in events.needed_types()],
        }
    ]
    return paddle


def test_all_is_well(set_up):
    told, problem = run("paddle_check")
    assert (problem, "WRONG" in told) == ("", False)
    assert told.count("ok ") == len(told.splitlines()) > 15


def test_the_events_that_we_need_are_those_of_the_guide():
    """What docs/PADDLE.md tells people to tick."""
    subscription = "activated canceled created imported past_due paused resumed trialing updated"
    transaction = "canceled completed paid past_due payment_failed"
    assert set(events.needed_types()) == {
        *(f"subscription.{step}" for step in subscription.split()),
        *(f"transaction.{step}" for step in transaction.split()),
        *(f"customer.{step}" for step in ("created", "imported", "updated")),
        *(f"adjustment.{step}" for step in ("created", "updated")),
    }
    guide = (settings.BASE_DIR / "docs/PADDLE.md").read_text()
    assert [needed for needed in events.needed_types() if f"`{needed}`" not in guide] == []


def test_without_a_key_paddle_is_not_asked(set_up, settings):
    settings.PADDLE_API_KEY = ""
    told, problem = run("paddle_check")
    assert "WRONG  not so: PADDLE_API_KEY is set" in told
    assert (problem[:1], set_up.calls) == ("1", [])


def no_destination(paddle, settings):
    paddle.destinations[0]["active"] = False


def simulations_only(paddle, settings):
    paddle.destinations[0]["traffic_source"] = "simulation"


def another_secret(paddle, settings):
    paddle.destinations[0]["endpoint_secret_key"] = "pdl_ntfset_another"


def by_email(paddle, settings):
    paddle.destinations[0]["type"] = "email"


def a_malformed_price(paddle, settings):
    answer = paddle._answer

    def malformed(handler, method, path, body):
        if path == "/prices/pri_pro_month":
            paddle._error(handler, 400, "bad_request", "no such id")
        else:
            answer(handler, method, path, body)

    paddle._answer = malformed


def no_key_of_ours(paddle, settings):
    settings.PADDLE_CLIENT_TOKEN = ""


def an_event_missing(paddle, settings):
    paddle.destinations[0]["subscribed_events"] = [
        event for event in paddle.destinations[0]["subscribed_events"] if event["name"] != "adjustment.updated"
    ]


def a_price_of_another_environment(paddle, settings):
    del paddle.prices["pri_pro_month"]


def another_amount(paddle, settings):
    paddle.prices["pri_pro_month"]["unit_price"]["amount"] = "1400"


def another_interval(paddle, settings):
    paddle.prices["pri_pro_month"]["billing_cycle"] = {"interval": "year", "frequency": 1}


def an_archived_price(paddle, settings):
    paddle.prices["pri_pro_month"]["status"] = "archived"


def no_price(paddle, settings):
    PlanPrice.objects.filter(plan__slug="team").update(is_offered=False)


def no_secret(paddle, settings):
    settings.PADDLE_WEBHOOK_SECRETS = []
    del paddle.destinations[0]["endpoint_secret_key"]


def a_live_key(paddle, settings):
    settings.PADDLE_API_KEY = "pdl_live_apikey_x"


def a_live_client_token(paddle, settings):
    settings.PADDLE_CLIENT_TOKEN = "live_x"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_destination, "notifications to https://api.example.com/webhooks/paddle"),
        (simulations_only, "sends real events"),
        (another_secret, "signs with our PADDLE_WEBHOOK_SECRET"),
        (by_email, "notifications to https://api.example.com/webhooks/paddle"),
        (a_malformed_price, "Paddle says bad_request"),
        (no_key_of_ours, "PADDLE_CLIENT_TOKEN is one of the sandbox"),
        (an_event_missing, "Missing: adjustment.updated."),
        (a_price_of_another_environment, "pri_pro_month) exists at Paddle"),
        (another_amount, "1400 USD"),
        (another_interval, "is billed each month"),
        (an_archived_price, "is active at Paddle"),
        (no_price, "Team has a monthly price"),
        (no_secret, "PADDLE_WEBHOOK_SECRET is set"),
        (a_live_key, "PADDLE_API_KEY is one of the sandbox"),
        (a_live_client_token, "PADDLE_CLIENT_TOKEN is one of the sandbox"),
    ],
)
def test_what_is_wrong_is_named(spoil, words, set_up, settings):
    spoil(set_up, settings)
    told, problem = run("paddle_check")
    (wrong,) = [line for line in told.splitlines() if line.startswith("WRONG")]
    assert words in wrong
    assert problem.startswith("1 to put right")
    assert not any(secret in told + problem for secret in (SECRET, "pdl_sdbx_apikey_test", "test_client", "another"))


def test_not_even_the_most_talkative_log_has_a_secret(set_up, caplog):
    """Paddle's answer about a destination holds its secret, and the SDK would log answers."""
    caplog.set_level(logging.DEBUG)
    run("paddle_check")
    assert len(set_up.calls) > 1
    assert SECRET not in caplog.text
    set_up.mode = "failing"
    run("paddle_check")
    assert "Request" not in caplog.text


def test_test_mode_is_named(set_up, monkeypatch):
    monkeypatch.setenv("TEST_MODE", "1")
    assert "WRONG  not so: TEST_MODE is not set" in run("paddle_check")[0]


@pytest.mark.parametrize(
    ("status", "code"), [(401, "authentication_missing"), (403, "invalid_token"), (403, "forbidden")]
)
def test_a_key_that_paddle_refuses(status, code, set_up, monkeypatch):
    monkeypatch.setattr(set_up, "_answer", lambda handler, *_: set_up._error(handler, status, code, "no"))
    told, problem = run("paddle_check")
    wrong = [line for line in told.splitlines() if line.startswith("WRONG")]
    assert [f"lets the key read {what}" in line for what, line in zip(READ, wrong, strict=True)] == [True, True]
    assert all(code in line for line in wrong)
    assert problem.startswith("2 to put right")
    assert (code in run("paddle_sync")[1], WebhookEvent.objects.count()) == (True, 0)
    assert not any(secret in told + problem for secret in (SECRET, "pdl_sdbx_apikey_test", "test_client"))


def test_a_key_that_may_not_read_everything(set_up, monkeypatch):
    answer = set_up._answer

    def no_destinations(handler, method, path, body):
        if path == "/notification-settings":
            set_up._error(handler, 403, "forbidden", "no")
        else:
            answer(handler, method, path, body)

    monkeypatch.setattr(set_up, "_answer", no_destinations)
    told, problem = run("paddle_check")
    assert problem.startswith("1 to put right")
    assert "ok     Pro a month (pri_pro_month) costs 1500 US cents" in told


def test_a_former_price_may_be_archived_and_of_another_amount(set_up):
    plan = Plan.objects.get(slug="pro")
    PlanPrice.objects.create(price_id="pri_former", plan=plan, is_offered=False)
    former = {"unit_price": {"amount": "900", "currency_code": "USD"}, "status": "archived"}
    set_up.prices["pri_former"] = {**set_up.prices["pri_pro_month"], **former}
    assert run("paddle_check")[1] == ""


def test_what_a_year_costs_is_shown(set_up):
    set_up.prices["pri_pro_year"]["unit_price"]["amount"] = "14400"
    told, problem = run("paddle_check")
    assert ("14400 cents" in told, problem) == (True, "")


@pytest.mark.parametrize("unreadable", [{}, {"billing_cycle": 1, "unit_price": "x", "status": None}])
def test_a_price_that_makes_no_sense(unreadable, set_up):
    set_up.prices["pri_pro_month"] = {"id": "pri_pro_month", **unreadable}
    assert run("paddle_check")[1].startswith("3 to put right")


@pytest.mark.parametrize("fault", ["too_many", "failing", "html", "reset", "hang"])
@pytest.mark.parametrize("command", ["paddle_check", "paddle_sync"])
def test_paddle_down(command, fault, set_up, monkeypatch):
    monkeypatch.setattr(api, "TIMEOUT", 0.3)
    set_up.mode = fault
    assert "does not answer" in run(command)[1]


def test_replay(deliver, prices, monkeypatch):
    life = Life(prices["pro"])
    failing = life.created()
    with monkeypatch.context() as patch:
        patch.setitem(events.HANDLERS, "subscription", lambda *_: 1 / 0)
        deliver(life.customer(), failing)
    told, problem = run("paddle_replay", failing["event_id"], "evt_unheard_of")
    assert told == f"{failing['event_id']}: done\n"
    assert "evt_unheard_of" in problem
    assert Subscription.objects.get().status == "active"
    for _ in range(3):
        assert run("paddle_replay", failing["event_id"]) == (told, "")
    assert License.objects.count() == 1


def test_replay_says_what_is_still_wrong(deliver, prices):
    life = Life("pri_unknown")
    event = life.created()
    deliver(event)
    told = run("paddle_replay", event["event_id"])[0]
    assert told == f"{event['event_id']}: flagged: No plan is known for the price pri_unknown.\n"


def test_replay_says_of_each_what_became_of_it(deliver, prices, monkeypatch):
    life = Life(prices["pro"])
    failing, idle = life.created(), event("product.created", {"id": "pro_1"}, life.began)
    deliver(life.customer(), failing, idle)
    monkeypatch.setitem(events.HANDLERS, "subscription", lambda *_: 1 / 0)
    told, problem = run("paddle_replay", failing["event_id"], idle["event_id"])
    assert told.splitlines() == [
        f"{failing['event_id']}: failed: ZeroDivisionError: division by zero",
        f"{idle['event_id']}: ignored",
    ]
    assert problem == ""


@pytest.fixture
def missed(paddle, prices, deliver):
    """A subscription whose upgrade and scheduled cancellation we never heard of, and one that we never heard of."""
    known, unknown = Life(prices["pro"]), Life(prices["indie"])
    deliver(known.customer(), known.created(), known.completed())
    for life in (known, unknown):
        paddle.add(life)
    changed = known.at(days=1)
    change = {"action": "cancel", "effective_at": stamp(known.at(days=30)), "resume_at": None}
    known.price = prices["team"]
    paddle.subscriptions[known.subscription_id] = known.subscription(scheduled_change=change, updated_at=stamp(changed))
    return known, unknown


def test_sync_only_looks_unless_told(missed, paddle):
    known, unknown = missed
    kept = WebhookEvent.objects.count()
    told, problem = run("paddle_sync")
    assert problem == ""
    assert f"{known.subscription_id}\n" in told
    assert "price_ids: ['pri_pro_month'] here, ['pri_team_month'] at Paddle" in told
    assert "scheduled_action: nothing here, cancel at Paddle" in told
    assert f"{unknown.subscription_id}\n" in told
    (here, then), (nothing, bought) = [
        line.removeprefix("  license: ").removesuffix(" by this subscription").split(" here, ")
        for line in told.splitlines()
        if line.startswith("  license: ")
    ]
    grace_ends = known.at(days=33).strftime("%Y-%m-%d")
    assert (here.split(), nothing) == (["Pro", "until", grace_ends, *here.split()[3:]], "none")
    assert then.startswith(f"Team until {grace_ends}")
    assert bought.startswith(f"Indie until {grace_ends}")
    assert "2 subscriptions at Paddle, 2 differ here. Run it again with --apply" in told
    assert WebhookEvent.objects.count() == kept
    assert not any(method == "POST" for method, *_ in paddle.calls)


def test_sync_repairs(missed, mailbox):
    known, unknown = missed
    told, problem = run("paddle_sync", "--apply")
    assert (problem, told.count("put right")) == ("", 2)
    for life, plan in ((known, "Team"), (unknown, "Indie")):
        license = License.objects.get(email=life.email)
        assert f"{life.subscription_id}: {license}, {plan} until " in told
    row = Subscription.objects.get(paddle_id=known.subscription_id)
    assert (row.license.plan.slug, row.scheduled_action) == ("team", "cancel")
    assert License.objects.get(email=unknown.email).plan.slug == "indie"
    housekeeping.run()
    assert len(mailbox.to(unknown.email, "Your Remind license")) == 1
    assert run("paddle_sync", "--apply") == ("2 subscriptions at Paddle, 0 differ here.\n", "")


@pytest.mark.parametrize("at_once", [True, False])
def test_sync_sees_no_difference_where_there_is_none(at_once, deliver, paddle, prices, license):
    """Whether Paddle dates the change like its notification or, as it mostly does, a moment before."""
    live, due, gone, paused = (Life(prices["pro"]) for _ in range(4))
    paddle.add(live)
    deliver(live.customer(), live.created(), live.activated(), live.completed())
    for life, last in ((due, due.became("past_due")), (gone, gone.canceled()), (paused, paused.became("paused"))):
        deliver(life.customer(), life.created(), last)
        changed = last["occurred_at"] if at_once else stamp(datetime.fromisoformat(last["occurred_at"]) - MOMENT)
        paddle.subscriptions[life.subscription_id] = {**last["data"], "updated_at": changed}
    assert run("paddle_sync") == ("4 subscriptions at Paddle, 0 differ here.\n", "")
    kept = WebhookEvent.objects.count()
    run("paddle_sync", "--apply")
    assert WebhookEvent.objects.count() == kept


def test_sync_says_why_a_license_would_end(deliver, paddle, prices):
    life = Life(prices["pro"], began=datetime.now(UTC) - timedelta(days=60))
    deliver(life.customer(), life.created(), life.completed())
    ended = life.canceled(at=life.at(days=20))
    paddle.subscriptions[life.subscription_id] = {**ended["data"], "updated_at": ended["occurred_at"]}
    assert "(the subscription was cancelled) by this subscription" in run("paddle_sync")[0]
    assert "Pro until" in run("paddle_sync", "--apply")[0]
    assert decide(License.objects.get(), datetime.now(UTC)) == Decision.EXPIRED
    assert Subscription.objects.get().status == "canceled"


def test_sync_that_fails_to_repair_says_so_and_succeeds_later(missed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(events.HANDLERS, "subscription", lambda *_: 1 / 0)
        told, _ = run("paddle_sync", "--apply")
    assert (told.count("to be done: ZeroDivisionError"), told.count("put right")) == (2, 0)
    known, unknown = missed
    for stored in WebhookEvent.objects.filter(event_type=events.API_STATE):
        run("paddle_replay", stored.event_id)
    housekeeping.run()
    assert License.objects.get(email=known.email).plan.slug == "team"
    assert License.objects.get(email=unknown.email).plan.slug == "indie"


def test_sync_goes_on_where_it_stopped(paddle, prices, monkeypatch):
    """Paddle fails after the first page: what was read is repaired, and the rest the next time."""
    lives = [Life(prices["pro"]) for _ in range(4)]
    for life in lives:
        paddle.add(life)
    paddle.page_size = 2
    answer = paddle._answer

    def only_the_first_page(handler, method, path, body):
        if "after=" in handler.path:
            paddle._error(handler, 500, "internal_error", "down")
        else:
            answer(handler, method, path, body)

    with monkeypatch.context() as patch:
        patch.setattr(paddle, "_answer", only_the_first_page)
        assert "does not answer" in run("paddle_sync", "--apply")[1]
    assert Subscription.objects.count() == 2
    told, problem = run("paddle_sync", "--apply")
    assert ("4 subscriptions at Paddle, 2 differ here." in told, problem) == (True, "")
    assert Subscription.objects.count() == 4
    housekeeping.run()
    assert License.objects.count() == 4


@pytest.mark.parametrize(
    "body",
    [{}, [], None, {"data": None}, {"data": ["sub"]}, {"data": {"id": 1}}, {"data": [], "meta": {"pagination": 7}}],
)
def test_sync_with_an_answer_that_makes_no_sense(body, paddle, db, monkeypatch):
    monkeypatch.setattr(paddle, "_list", lambda handler, rows: paddle._send(handler, 200, json.dumps(body).encode()))
    assert "does not answer" in run("paddle_sync")[1]


def test_sync_with_pages_that_have_no_end(paddle, db, monkeypatch):
    paddle.add(Life("pri_x"))
    pagination = {"has_more": True, "next": f"{paddle.base_url}/subscriptions?after=1"}
    body = json.dumps({"data": [], "meta": {"pagination": pagination}}).encode()
    monkeypatch.setattr(paddle, "_list", lambda handler, rows: paddle._send(handler, 200, body))
    assert "no end" in run("paddle_sync")[1]
    assert len(paddle.calls) == 2


def test_sync_does_not_undo_what_happened_later(missed, deliver):
    known, _ = missed
    deliver(known.canceled(at=known.at(days=1, hours=1)))
    run("paddle_sync", "--apply")
    row = Subscription.objects.get(paddle_id=known.subscription_id)
    assert (row.status, row.license.plan.slug) == ("canceled", "team")


def test_sync_reads_all_pages_and_since(paddle, prices):
    lives = [Life(prices["pro"]) for _ in range(5)]
    for number, life in enumerate(lives):
        paddle.add(life)
        changed = datetime.now(UTC) - timedelta(days=number * 10)
        paddle.subscriptions[life.subscription_id]["updated_at"] = stamp(changed)
    paddle.page_size = 2
    assert "5 subscriptions at Paddle, 5 differ" in run("paddle_sync")[0]
    day = datetime.now(UTC) - timedelta(days=15)
    since = ["--since", f"{day:%Y-%m-%d}"]
    assert "2 subscriptions at Paddle, 2 differ" in run("paddle_sync", *since)[0]
    # Two more that a comparison of texts, or an early end, would leave out: elsewhere's clock, and none.
    here, elsewhere = f"{day:%Y-%m-%d}", timezone(timedelta(hours=-12))
    midnight = datetime.fromisoformat(f"{here}T00:00:00+00:00")
    paddle.subscriptions[lives[3].subscription_id]["updated_at"] = midnight.astimezone(elsewhere).isoformat()
    del paddle.subscriptions[lives[4].subscription_id]["updated_at"]
    assert "4 subscriptions at Paddle" in run("paddle_sync", *since)[0]


def test_since_must_be_a_day():
    assert "no date of the form" in run("paddle_sync", "--since", "yesterday")[1]


def test_scripts_see_it_by_the_exit_code_and_one_sentence(sqlite, paddle):
    paddle.add(Life("pri_unknown"))
    env = {"DATABASE_URL": sqlite.url, "PADDLE_API_KEY": "pdl_sdbx_apikey_test", "PADDLE_BASE_URL": paddle.base_url}

    def command(*words):
        return run_command(*words, env=env, check=False)

    fine = command("paddle_sync")
    assert (fine.returncode, "1 differ here. Run it again with --apply" in fine.stdout) == (0, True)
    paddle.mode = "failing"
    for words in (["paddle_sync", "--apply"], ["paddle_check"], ["paddle_replay", "evt_x"]):
        failed = command(*words)
        assert (failed.returncode, "Traceback" in failed.stderr) == (1, False), failed.stderr
        assert "pdl_sdbx_apikey_test" not in failed.stdout + failed.stderr


def test_sync_without_a_key(db, settings):
    settings.PADDLE_API_KEY = ""
    assert run("paddle_sync")[1] == "PADDLE_API_KEY is not set."
