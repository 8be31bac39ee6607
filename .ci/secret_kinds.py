"""Kinds of secrets that this service knows and detect-secrets does not; for `make secrets`."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class LicenseTokenDetector(RegexBasedDetector):
    secret_type = "License token"  # noqa: S105  # pragma: allowlist secret
    denylist = (re.compile(r"remind_[a-z][a-z0-9-]{2,30}_[0-9bcdfghjkmnpqrstvwxz]{33}\b"),)


class PaddleDetector(RegexBasedDetector):
    secret_type = "Paddle key or secret"  # noqa: S105  # pragma: allowlist secret
    denylist = (re.compile(r"pdl_(?:live|sdbx)_apikey_[a-z0-9]{20,}|pdl_ntfset_[a-z0-9]{20,}"),)
