"""The settings with django-migration-linter's command in them, which only `make check` needs."""

from remind_site.settings import *  # noqa: F403
from remind_site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_migration_linter"]
