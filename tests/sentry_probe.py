"""A process that fails in the middle of a request and reports it, with some of the guards taken away.

    python -m tests.sentry_probe '{"scrubber": false, "send_default_pii": true}'

The texts to look for afterwards come from the environment (PLANTED, as JSON), so that they are in no line of source.
"""

import io
import json
import os
import sys


def main() -> None:
    changes = json.loads(sys.argv[1])
    planted = json.loads(os.environ["PLANTED"])
    os.environ["DJANGO_SETTINGS_MODULE"] = "remind_site.settings"
    from remind_site import sentry

    options = sentry.options
    if not changes.pop("scrubber", True):
        changes |= {"before_send": lambda event, hint: event, "before_send_transaction": lambda event, hint: event}
    sentry.options = lambda: {**options(), **changes}

    from remind_site.wsgi import application

    def fail(request, body):
        local = planted["local"]
        raise RuntimeError(f"failed with {len(local)}")

    from remind_site.middleware import license_token

    license_token.presented_token = fail
    body = json.dumps({"reminder_text": planted["body"]}).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/ai",
        "QUERY_STRING": f"license_token={planted['query']}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "HTTP_COOKIE": f"sessionid={planted['cookie']}",
        "HTTP_AUTHORIZATION": f"Bearer {planted['header']}",
        "REMOTE_ADDR": planted["address"],
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    b"".join(application(environ, lambda status, headers, exc_info=None: None))

    import sentry_sdk

    sentry_sdk.flush(10)


if __name__ == "__main__":
    main()
