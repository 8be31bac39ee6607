"""`manage.py export_data FILE`: all data, for `loaddata` into an empty database; nobody gets in by it."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from remind_site.backups import export


class Command(BaseCommand):
    help = (
        "Writes all data as JSON lines that loaddata reads, without sessions, second factors, stored answers and "
        "passwords. It holds customers' addresses: keep it like a secret all the same."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="a new file; its name ends in .jsonl")

    def handle(self, *args: Any, **options: Any) -> None:
        path = options["file"]
        if path.suffix != ".jsonl":
            raise CommandError("The file's name must end in .jsonl: loaddata goes by it.")
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file, _one_moment():
                export.write(file)
        except FileExistsError:
            raise CommandError(f"{path} exists already.") from None
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}.") from None


@contextmanager
def _one_moment() -> Iterator[None]:
    """All of it as one moment saw it."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
