"""Encryption of backups with age (https://age-encryption.org/v1): to public keys, so that what takes backups can't
read them, and in a format that the program `age` opens without this service. Without a recipient nothing is encrypted.
"""

import shutil
from typing import IO

import pyrage
from django.conf import settings

from remind_site.backups.errors import BackupProblem


def is_on() -> bool:
    """Whether there is a key to encrypt to."""
    return bool(settings.BACKUP_AGE_RECIPIENTS)


def seal(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy source to target, encrypted to every recipient."""
    if not is_on():
        shutil.copyfileobj(source, target)
        return
    watched = _Watched(source)
    try:
        pyrage.encrypt_io(watched, target, [recipient(text) for text in settings.BACKUP_AGE_RECIPIENTS])
    except pyrage.EncryptError as error:  # whatever was raised meanwhile comes as this, in words
        raise watched.failure or OSError(str(error)) from None


def unseal(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy source, which is encrypted, to target in the clear.

    Raises:
        BackupProblem: no key, a wrong one, or content that was changed or cut off.
    """
    if not settings.BACKUP_AGE_IDENTITY:
        raise BackupProblem("The backup is encrypted, and BACKUP_AGE_IDENTITY is not set.")
    try:
        pyrage.decrypt_io(source, target, [identity(settings.BACKUP_AGE_IDENTITY)])
    except pyrage.DecryptError as error:
        if "key" in str(error).lower():
            raise BackupProblem("BACKUP_AGE_IDENTITY is the wrong key: it does not open this backup.") from None
        raise BackupProblem(f"The backup can't be decrypted ({error}): it is damaged.") from None
    except OSError as error:
        if "decryption" in str(error):
            raise BackupProblem("The backup can't be decrypted to its end: it is damaged or cut off.") from None
        raise


def recipient(text: str) -> pyrage.x25519.Recipient:
    """Raises: ValueError where it is none."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise ValueError(str(error)) from None


def identity(text: str) -> pyrage.x25519.Identity:
    """Raises: ValueError where it is none."""
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError as error:
        raise ValueError(str(error)) from None


class _Watched:
    """A source that remembers what reading it raised, for example that the process is to stop."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.failure: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as error:
            self.failure = error
            raise
