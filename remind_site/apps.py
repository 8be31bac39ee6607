from django.apps import AppConfig
from django.conf import settings


class RemindSiteConfig(AppConfig):
    name = "remind_site"
    verbose_name = "the site"  # above its pages in the console

    def ready(self) -> None:
        from remind_site import checks, dangers, logs, reporting, schema  # noqa: F401  # importing registers them

        logs.configure(settings.LOG_LEVEL)
        reporting.start()
