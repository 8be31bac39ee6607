"""Ledger work for the recovery drill, until the database is gone: `python -m remind_site.backups.drill_work`.

Threads reserve and settle through `billing.quota` on the database of DATABASE_URL. Each says, as a line of JSON, which
entry it settled, and between which moments (Unix seconds): before it began, and after the commit was confirmed.
"""

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:  # models can be imported only once Django is set up
    from licenses.models import License, LicenseToken

THREADS = 4
PAUSE = 0.005  # seconds; commits so close are enough to tell a moment by


def main() -> None:
    django.setup()

    from licenses import lifecycle
    from licenses.models import Plan

    team = Plan.objects.get(slug="team")
    for number in range(THREADS):
        license = lifecycle.issue(f"drill{number}@example.com", team, by="drill", quota=1_000_000)
        token, _ = lifecycle.add_token(license, by="drill")
        threading.Thread(target=_work, args=[license, token]).start()


def _work(license: "License", token: "LicenseToken") -> None:
    from django.db import Error as DatabaseError

    from billing import quota
    from billing.usage import Usage

    try:
        while True:
            began = time.time()
            held = quota.reserve(license, token, model="local", request_id="drill")
            quota.settle(held, Usage(100, 0, 20), {})
            line = json.dumps({"entry": held.entry.pk, "began": began, "settled": time.time()})
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            time.sleep(PAUSE)
    except DatabaseError:
        return  # it was destroyed, as is the drill's purpose


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "remind_site.settings")
    main()
