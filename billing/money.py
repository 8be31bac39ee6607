"""Amounts of money as people read them."""


def dollars(cents: int) -> str:
    """US cents as dollars: -1234 is '-$12.34'."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def minor(amount: int, currency: str) -> str:
    """An amount in a currency's smallest unit, as it is known to people."""
    return dollars(amount) if currency == "USD" else f"{amount:,} {currency} (smallest unit)"
