"""The door for gunicorn. A process whose settings can't work does not start, and says why."""

import os

from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application

from remind_site.reporting import OwnTraces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "remind_site.settings")
application = OwnTraces(get_wsgi_application())
BaseCommand().check()  # as `manage.py check`, without its line that all is well, which is no JSON

from remind_site.metrics import requests, sampler  # noqa: E402  # they need the settings, and those checked
from suggestions.providers import configured  # noqa: E402

configured()  # made now, so that no customer waits for it
requests.preset()
sampler.start()
