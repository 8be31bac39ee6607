"""License tokens as strings: making one, telling a well-formed one from a mistyped one, masking, digesting.

Nothing here asks the database; whether a well-formed token is one of ours is `licenses.authentication`'s job.
"""

import hashlib
import re
import secrets

# Digits and consonants only, so that no plan's name can turn up in the random part (the client looks for one
# anywhere in a token when it is offline); without 'l' and 'y', which people misread.
ALPHABET = "0123456789bcdfghjkmnpqrstvwxz"  # pragma: allowlist secret
RANDOM_LENGTH = 27  # 27 * log2(29) = 131 bits, at least the 128 that are promised
CHECKSUM_LENGTH = 6  # a mistyped token passes once in 29**6, about 595 million
PREFIX_SECRET_LENGTH = 6  # how much of the random part the console may show
MASK_LENGTH = 10  # how much of anything sent as a token may reach a log

_FORM = re.compile(
    rf"remind_([a-z][a-z0-9-]{{2,30}})_([{ALPHABET}]{{{RANDOM_LENGTH}}})([{ALPHABET}]{{{CHECKSUM_LENGTH}}})"
)
# Any string that looks like a token, well-formed or not, in an address too; for scrubbing what we did not write.
_LOOKS_LIKE_TOKEN = re.compile(r"remind(?:_|%5f)[a-z][a-z0-9-]{2,30}(?:_|%5f)[a-z0-9]{8,}", re.IGNORECASE)
# The same, with what may be shown of it as a group.
_WITH_SECRET = re.compile(
    rf"(remind(?:_|%5f)[a-z][a-z0-9-]{{2,30}}(?:_|%5f)[a-z0-9]{{{PREFIX_SECRET_LENGTH}}})[a-z0-9]{{2,}}", re.IGNORECASE
)

# A token that people or their programs have written otherwise: '-' for '_'. Once all else but its signs is taken out.
_PASTED = re.compile(rf"remind[_-]+([a-z][a-z0-9-]{{2,30}})[_-]+([{ALPHABET}]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}})")
_BEGINNING = re.compile(rf"remind_[a-z][a-z0-9-]{{2,30}}_[{ALPHABET}]{{0,{PREFIX_SECRET_LENGTH}}}")
_AFTER_REMIND = re.compile(r"(r\W*e\W*m\W*i\W*n\W*d)(?![a-z]*([@.]|$)).+", re.IGNORECASE | re.DOTALL)
_NO_SIGN = re.compile(r"[^a-z0-9_-]")


def mint(plan_slug: str) -> str:
    """A new random token for a plan: `remind_<plan>_<random><checksum>`."""
    body = f"remind_{plan_slug}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether the string has a token's form and its checksum fits, which needs no database."""
    match = _FORM.fullmatch(token)
    return match is not None and _checksum(token[:-CHECKSUM_LENGTH]) == match[3]


def pasted(text: str) -> str | None:
    """The token somewhere in what somebody pasted: with 'Bearer' before it or a full stop after it, in quotes or
    capitals, broken by spaces or lines, '-' for '_'. None where there is none, or it is not whole.
    """
    signs = _signs(text)
    for start in (match.start() for match in re.finditer("remind", signs)):
        match = _PASTED.match(signs, start)
        token = match and f"remind_{match[1]}_{match[2]}"
        if token and is_well_formed(token):
            return token
    return None


def beginning(text: str) -> str | None:
    """As much as the console knows of a token that begins somewhere in what was pasted, or that was mistyped."""
    match = _BEGINNING.search(_signs(text)) if begins_like_one(text) else None
    return match and match[0]


def begins_like_one(text: str) -> bool:
    """Whether something in what was pasted was meant to be a token."""
    return "@" not in text and re.search("remind[_-]", _signs(text)) is not None


def digest(token: str) -> str:
    """What is stored of a token. Plain SHA-256 is enough for a secret of 128 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def visible_prefix(token: str) -> str:
    """What the console knows a token by: `remind_<plan>_` and the 6 characters after it."""
    head, _, secret = token.rpartition("_")
    return f"{head}_{secret[:PREFIX_SECRET_LENGTH]}"


def mask(token: str) -> str:
    """The most of a token that may be logged: its first 10 characters."""
    return token[:MASK_LENGTH]


def scrub(text: str) -> str:
    """The text with everything that looks like a token masked."""
    return _LOOKS_LIKE_TOKEN.sub(lambda match: mask(match[0]), text)


def shorten(text: str) -> str:
    """The text with every token in it cut to its visible prefix, so that it still says which was meant."""
    return _WITH_SECRET.sub(r"\1", text)


def hide(text: str) -> str:
    """The text without what follows 'remind', unless that is a word of its own, or in an email address.

    For what people pasted: with spaces or other signs in it, `shorten` would know no token.
    """
    return _AFTER_REMIND.sub("remind…", text)


def _signs(text: str) -> str:
    return _NO_SIGN.sub("", text.lower().replace("%5f", "_"))


def _checksum(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(body.encode()).digest()[:8])
    characters = []
    for _ in range(CHECKSUM_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)
