"""Where backups are kept (`STORAGES["backups"]`), and what is known of each.

A backup is two files: the dump, and a manifest with its checksum and counts that is written last. Without a manifest
there is no backup, only what a run that died has left.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from storages.backends.s3 import S3Storage

from remind_site.backups.errors import BackupProblem

PREFIX, STAMP = "remind-", "%Y%m%dT%H%M%S.%fZ"
CHUNK = 1 << 20  # bytes that are held in memory at a time
MANIFEST, DUMP, SEALED = ".json", ".dump", ".dump.age"


class BoundedS3(S3Storage):  # type: ignore[misc]  # it has no types
    """S3-compatible storage that is given up when it does not answer, and never reads a dump into memory."""

    def get_default_settings(self) -> dict[str, Any]:
        config = Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 3},
            # Many compatible stores don't know the checksums that boto3 would add; ours are in the manifest.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        bounds = {"client_config": config, "max_memory_size": 10_000_000, "file_overwrite": True}
        return {**super().get_default_settings(), **bounds}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a backup."""

    name: str
    file: str
    taken_at: str  # RFC 3339, UTC
    bytes: int
    sha256: str
    is_sealed: bool
    server: int  # PostgreSQL's major version
    counts: dict[str, int]  # rows by table

    @property
    def age(self) -> timedelta:
        return datetime.now(UTC) - datetime.fromisoformat(self.taken_at)


def new_name(now: datetime) -> str:
    """What a backup taken at that moment is called; names sort by time."""
    return f"{PREFIX}{now.astimezone(UTC):{STAMP}}"


def names() -> list[str]:
    """The backups there are, oldest first."""
    return sorted(file.removesuffix(MANIFEST) for file in _files() if file.endswith(MANIFEST))


def newest() -> Manifest:
    """Raises: BackupProblem where there is none."""
    found = names()
    if not found:
        raise BackupProblem("There is no backup at all in the store.")
    return read(found[-1])


def read(name: str) -> Manifest:
    """What is known of a backup."""
    content = b"".join(_content(f"{name}{MANIFEST}"))
    try:
        return Manifest(**json.loads(content))
    except (ValueError, TypeError):
        raise BackupProblem(f"The manifest of {name} can't be read: it is damaged.") from None


def put(path: Path, manifest: Manifest) -> None:
    """Keep a dump, look whether all of it arrived, and then its manifest; nothing of it where that fails."""
    try:
        with _plain("written"), path.open("rb") as dump:
            _storage().save(manifest.file, File(dump))
        _check_arrival(manifest)
        with _plain("written"):
            _storage().save(f"{manifest.name}{MANIFEST}", ContentFile(json.dumps(asdict(manifest)).encode()))
    except BaseException:
        with suppress(BackupProblem):
            remove(manifest.name)
        raise


def _check_arrival(manifest: Manifest) -> None:
    with _plain("read"):
        arrived = _storage().size(manifest.file)
    if arrived != manifest.bytes:
        raise BackupProblem(f"Of the dump's {manifest.bytes} bytes, {arrived} arrived in the store.")


def fetch(manifest: Manifest, path: Path) -> None:
    """Fetch a dump, and compare it with its manifest.

    Raises:
        BackupProblem: it is missing, cut off or changed, or the store can't be reached.
        OSError: the path can't be written.
    """
    with path.open("wb") as copy:
        copy.writelines(_content(manifest.file))
    size = path.stat().st_size
    if size != manifest.bytes:
        raise BackupProblem(f"The dump of {manifest.name} has {size} bytes instead of {manifest.bytes}: it is cut off.")
    if checksum(path) != manifest.sha256:
        raise BackupProblem(f"The dump of {manifest.name} is damaged: its checksum differs from the one noted.")


def remove(name: str) -> None:
    """Remove a backup: the manifest first, so that what remains of it is none."""
    with _plain("cleaned up"):
        for file in _files():
            if file in {f"{name}{ending}" for ending in (MANIFEST, DUMP, SEALED)}:
                _storage().delete(file)


def remove_older(than: datetime, *, but: set[str]) -> list[str]:
    """Remove the backups, and what dead runs left, from before a moment; says which."""
    limit = new_name(than)
    stems = {file.removesuffix(ending) for file in _files() for ending in (MANIFEST, DUMP, SEALED)}
    old = sorted(stem for stem in stems if _is_name(stem) and stem < limit and stem not in but)
    for name in old:
        remove(name)
    return old


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_name(text: str) -> bool:
    try:
        return bool(datetime.strptime(text, f"{PREFIX}{STAMP}"))  # noqa: DTZ007  # only its form matters
    except ValueError:
        return False


def _storage() -> Storage:
    return storages["backups"]


def _files() -> list[str]:
    with _plain("read"):
        try:
            found: list[str] = _storage().listdir("")[1]
        except FileNotFoundError:  # a folder that nothing was ever put into
            return []
        return sorted(file for file in found if file.startswith(PREFIX))


def _content(file: str) -> Iterator[bytes]:
    with _plain("read"):
        try:
            opened = _storage().open(file, "rb")
        except FileNotFoundError:
            raise BackupProblem(f"{file} is missing from the store.") from None
        with closing(opened) as kept:
            yield from iter(lambda: kept.read(CHUNK), b"")


@contextmanager
def _plain(done: str) -> Iterator[None]:
    """What goes wrong with the store, in plain words."""
    try:
        yield
    except OSError as error:
        raise BackupProblem(f"The store can't be {done}: {error.strerror or type(error).__name__}.") from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise BackupProblem(f"The store can't be {done}: it refuses ({code}).") from None
    except (BotoCoreError, Boto3Error) as error:
        raise BackupProblem(f"The store can't be {done}: {error}") from None
