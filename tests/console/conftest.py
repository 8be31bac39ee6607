"""Staff of each role, and acting as they do: open the form, fill it in, send it."""

import re

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

ROLES = ("Support", "Billing", "Auditor")


@pytest.fixture
def staff(client, db):
    """A superuser."""
    client.force_login(get_user_model().objects.create_superuser("anna", "anna@example.com"))
    return client


@pytest.fixture
def as_role(db):
    """`as_role("Support")`: a client logged in as one of them."""

    def as_role(role):
        user = get_user_model().objects.create_user(role.lower(), is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return as_role


def path_of(slug, row=None):
    return f"/admin/act/{slug}/" + (f"{row.pk}/" if row is not None else "")


def seen_in(page):
    """What the form carries beside its fields."""
    return dict(re.findall(r'name="(seen[0-9-]*|once)" value="([^"]*)"', page.text))


@pytest.fixture
def act():
    """`act(client, slug, row, **fields)`: what the form's page becomes; with a reason unless one is given."""

    def act(client, slug, row=None, **fields):
        path = path_of(slug, row)
        form = client.get(path, follow=True)
        if 'name="once"' not in form.text:  # refused, or not possible now
            return form
        return client.post(path, {**seen_in(form), "reason": "ticket 7", **fields}, follow=True)

    return act


@pytest.fixture
def in_bulk():
    """`in_bulk(client, slug, rows, **fields)`: choose rows of a list, then fill in the one form."""

    def in_bulk(client, slug, rows, **fields):
        meta = rows[0]._meta
        chosen = {"action": slug, "_selected_action": [row.pk for row in rows]}
        form = client.post(f"/admin/{meta.app_label}/{meta.model_name}/", chosen)
        if "act-on-many" not in form.text:
            return form
        values = {
            "chosen": re.findall(r'name="chosen" value="(\d+)"', form.text),
            "reason": "ticket 7",
            **seen_in(form),
            **fields,
        }
        return client.post(f"/admin/act-on-many/{slug}/", values, follow=True)

    return in_bulk
