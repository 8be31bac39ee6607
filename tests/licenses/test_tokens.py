"""Tokens as strings."""

import math
import re

import pytest

from licenses import tokens


@pytest.mark.parametrize("plan", ["free", "indie", "pro", "team", "partner-2026"])
def test_a_minted_token_has_the_contracts_form(plan):
    token = tokens.mint(plan)
    assert re.fullmatch(rf"remind_{plan}_[0-9b-df-hj-np-tv-z]{{33}}", token)
    assert tokens.is_well_formed(token)


def test_the_random_part_can_spell_no_plan_and_holds_128_bits():
    assert not set("aeiou") & set(tokens.ALPHABET)
    assert tokens.RANDOM_LENGTH * math.log2(len(tokens.ALPHABET)) >= 128


def test_tokens_differ():
    assert len({tokens.mint("pro") for _ in range(1000)}) == 1000


def test_every_single_mistyped_character_is_noticed():
    token = tokens.mint("pro")
    for position in range(len("remind_"), len(token)):
        for other in "0b":
            if token[position] != other:
                assert not tokens.is_well_formed(token[:position] + other + token[position + 1 :])


def test_swapped_neighbours_and_another_plan_are_noticed():
    token = tokens.mint("pro")
    for position in range(len("remind_pro_"), len(token) - 1):
        swapped = token[:position] + token[position + 1] + token[position] + token[position + 2 :]
        assert swapped == token or not tokens.is_well_formed(swapped)
    assert not tokens.is_well_formed(token.replace("_pro_", "_team_"))


@pytest.mark.parametrize(
    "text", ["", "remind_", "remind_pro_", "x" * 10_000, "remind_pro_" + "0" * 33, "\n", "remind_pro_é"]
)
def test_made_up_ones_are_not_well_formed(text):
    assert not tokens.is_well_formed(text)


@pytest.mark.parametrize("trailer", ["\n", " ", "0"])
def test_nothing_may_follow(trailer):
    assert not tokens.is_well_formed(tokens.mint("pro") + trailer)


def test_what_is_shown_and_logged():
    token = tokens.mint("indie")
    assert tokens.visible_prefix(token) == token[: len("remind_indie_") + 6]
    assert tokens.mask(token) == "remind_ind"
    assert tokens.scrub(f"a {token}, b") == "a remind_ind, b"
    assert len(tokens.digest(token)) == 64
