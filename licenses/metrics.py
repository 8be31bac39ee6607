"""What is counted about rate limits. Labels are names of limits, never whose they are."""

from prometheus_client import Counter

LIMITS = ("address", "license", "unsigned")

LIMIT_HITS = Counter("remind_limit_hits_total", "Requests that came while a rate limit was used up.", ["limit"])
CACHE_FALLBACKS = Counter(
    "remind_cache_fallbacks_total", "Requests counted in a process's memory because the shared cache did not answer."
)


def exact(value: float, bits: int = 20) -> float:
    """The nearest multiple of 2 to the power of -bits: about a millionth, where `bits` is left out.

    Sums of these are the same in whatever order the processes' files are added up (up to 2 to the power of 53 - bits).
    Otherwise a sum could fall by its last digit, and Prometheus takes a counter that falls for one that began anew.
    """
    unit: float = 2.0**-bits
    return round(value / unit) * unit


for _limit in LIMITS:  # a counter that begins at its first event hides that event from rate()
    LIMIT_HITS.labels(_limit)
