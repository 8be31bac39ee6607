"""The refusals that concern quota and repeated requests."""

from licenses.errors import Refusal


class QuotaExhausted(Refusal):
    status = 429
    code = "quota_exhausted"


class IdempotencyInProgress(Refusal):
    status = 409
    code = "idempotency_in_progress"
    detail = "The first request with this Idempotency-Key is still running."


class IdempotencyMismatch(Refusal):
    status = 422
    code = "idempotency_mismatch"
    detail = "This Idempotency-Key was used with another request. Use a new key for a new request."
