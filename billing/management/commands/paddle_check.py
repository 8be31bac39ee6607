"""`manage.py paddle_check`: is everything set up, here and at Paddle, for a purchase to become a license?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.paddle import api, configuration


class Command(BaseCommand):
    help = "Checks the settings, the plans' prices and the notification destination; exits 1 where something is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        try:
            for finding in configuration.findings():
                wrong += not finding.is_right
                self._tell(finding)
        except api.PaddleUnavailable as problem:
            raise CommandError(f"Paddle does not answer: {problem}. Try again in a minute.") from None
        if wrong:
            raise CommandError(f"{wrong} to put right; docs/PADDLE.md says how.")

    def _tell(self, finding: configuration.Finding) -> None:
        if finding.is_right:
            self.stdout.write(f"ok     {finding.what}")
        else:
            self.stdout.write(f"WRONG  not so: {finding.what}. {finding.hint}")
