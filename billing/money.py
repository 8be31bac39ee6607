"""Amounts of money as people read them."""

from decimal import ROUND_HALF_EVEN, Decimal

CENT = Decimal("0.01")


def dollars(cents: int) -> str:
    """US cents as dollars: -1234 is '-$12.34'."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def exact(usd: Decimal) -> str:
    """US dollars that are kept finer than cents: to the cent, and what is less than one by its first two digits.

    12.345678 is '$12.35', 0.0042 is '$0.0042', 0.0000391 is '$0.000039': what was spent is never called $0.00.
    """
    sign, amount = "-" if usd < 0 else "", abs(usd)
    step = Decimal(1).scaleb(amount.adjusted() - 1) if 0 < amount < CENT else CENT
    return f"{sign}${amount.quantize(step, ROUND_HALF_EVEN):,f}"


def minor(amount: int, currency: str) -> str:
    """An amount in a currency's smallest unit, as it is known to people."""
    return dollars(amount) if currency == "USD" else f"{amount:,} {currency} (smallest unit)"
