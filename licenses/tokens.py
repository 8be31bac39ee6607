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


def mint(plan_slug: str) -> str:
    """A new random token for a plan: `remind_<plan>_<random><checksum>`."""
    body = f"remind_{plan_slug}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether the string has a token's form and its checksum fits, which needs no database."""
    match = _FORM.fullmatch(token)
    return match is not None and _checksum(token[:-CHECKSUM_LENGTH]) == match[3]


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


def _checksum(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(body.encode()).digest()[:8])
    characters = []
    for _ in range(CHECKSUM_LENGTH):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(characters)
