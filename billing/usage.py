"""What a call to a provider used, as everyone here counts it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; `cached_tokens` is the part of `input_tokens` it had cached."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
