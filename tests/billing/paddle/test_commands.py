"""`paddle_check`, `paddle_replay` and `paddle_sync`, against a real server that speaks Paddle's API."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from billing import housekeeping
from billing.models import PlanPrice, Subscription, WebhookEvent
from billing.paddle import api, events
from licenses.models import License
from tests.paddle import Life, stamp

pytestmark = pytest.mark.django_db


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
            "active": True,
            "subscribed_events": [{"name": name} for name in events.NEEDED_TYPES],
        }
    ]
    return paddle


def test_all_is_well(set_up):
    told, problem = run("paddle_check")
    assert (problem, "WRONG" in told) == ("", False)
    assert told.count("ok ") == len(told.splitlines()) > 15


def no_destination(paddle, settings):
    paddle.destinations[0]["active"] = False


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


def a_live_key(paddle, settings):
    settings.PADDLE_API_KEY = "pdl_live_apikey_x"


def a_live_client_token(paddle, settings):
    settings.PADDLE_CLIENT_TOKEN = "live_x"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_destination, "notifications to https://api.example.com/webhooks/paddle"),
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
    assert "test_secret" not in told + problem


def test_test_mode_is_named(set_up, monkeypatch):
    monkeypatch.setenv("TEST_MODE", "1")
    assert "WRONG  not so: TEST_MODE is not set" in run("paddle_check")[0]


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
    assert "needs a person (No plan is known for the price pri_unknown.)" in run("paddle_replay", event["event_id"])[0]


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
    assert "2 subscriptions at Paddle, 2 differ here. Run it again with --apply" in told
    assert WebhookEvent.objects.count() == kept
    assert not any(method == "POST" for method, *_ in paddle.calls)


def test_sync_repairs(missed, mailbox):
    known, unknown = missed
    told, problem = run("paddle_sync", "--apply")
    assert (problem, told.count("put right")) == ("", 2)
    row = Subscription.objects.get(paddle_id=known.subscription_id)
    assert (row.license.plan.slug, row.scheduled_action) == ("team", "cancel")
    assert License.objects.get(email=unknown.email).plan.slug == "indie"
    housekeeping.run()
    assert len(mailbox.to(unknown.email, "Your Remind license")) == 1
    assert run("paddle_sync", "--apply") == ("2 subscriptions at Paddle, 0 differ here.\n", "")


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
    assert "2 subscriptions at Paddle, 2 differ" in run("paddle_sync", "--since", f"{day:%Y-%m-%d}")[0]


def test_sync_without_a_key(db, settings):
    settings.PADDLE_API_KEY = ""
    assert run("paddle_sync")[1] == "PADDLE_API_KEY is not set."
