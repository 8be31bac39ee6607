"""All settings, each from an environment variable, with defaults that serve one machine for trying out.

`.env.example` says what each means; `check --deploy` names those that production lacks.
"""

import logging
import secrets
import sys
from contextlib import suppress
from decimal import Decimal
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from remind_site import sizing
from remind_site.environment import BASE_DIR, env
from remind_site.postgres import BoundedConnection

VERSION = "1.0.0"


def private_folder(*names: str) -> Path:
    """A git-ignored folder of ours that only its owner can read.

    Raises:
        ImproperlyConfigured: it can't be made, as where services can't write into their own code.
    """
    folder = BASE_DIR
    try:
        for name in ("var", *names):
            folder /= name
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{folder} can't be made ({error.strerror}), so what is for trying out has no place: set SECRET_KEY, "
            "DATABASE_URL and EMAIL_URL."
        ) from None
    return folder


def generated_secret_key() -> str:
    """A key that is made once and kept; for one machine only, since others would make their own."""
    path = private_folder() / "secret_key"
    if not path.exists():
        draft = path.with_name(f"secret_key.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_text()


# --- The process: gunicorn.conf.py says so when this is a web process, which alone keeps a connection pool.
WEB_PROCESS = env.bool("REMIND_WEB_PROCESS", False)
PROCESS = "web" if WEB_PROCESS else "worker" if sys.argv[1:2] == ["qcluster"] else "command"
# As gunicorn.conf.py has them; web processes are told what was settled at the start.
WEB_CONCURRENCY, WEB_THREADS = sizing.web(sizing.this_machine())

# --- Django
SECRET_KEY_GENERATED = not env.str("SECRET_KEY", "")
SECRET_KEY = env.str("SECRET_KEY", "") or generated_secret_key()
SECRET_KEY_FALLBACKS = env.names("SECRET_KEY_FALLBACKS", [])
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", [])

CSRF_FAILURE_VIEW = "remind_site.api.csrf_failure"
ROOT_URLCONF = "remind_site.urls"
WSGI_APPLICATION = "remind_site.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = "remind_site.formats"

INSTALLED_APPS = [
    "remind_site",
    "suggestions",
    "billing",
    "licenses",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "remind_site.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "django_q",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

# What a request passes, from the outside in.
MIDDLEWARE = [
    "remind_site.middleware.error_tracking.ErrorTrackingMiddleware",
    "remind_site.middleware.security_headers.SecurityHeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "corsheaders.middleware.CorsMiddleware",  # above all that can refuse, so that browsers can read refusals
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "remind_site.middleware.admin_addresses.AdminAddressesMiddleware",
    "remind_site.middleware.page_bodies.PageBodiesMiddleware",
    "remind_site.middleware.license_token.LicenseTokenMiddleware",
    "remind_site.middleware.address_limit.AddressLimitMiddleware",
    "remind_site.middleware.sessions.SessionMiddleware",
    "remind_site.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "CommonPasswordValidator", "NumericPasswordValidator")
] + [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    }
]

# --- The console
ADMIN_ALLOWED_ADDRESSES = env.names("ADMIN_ALLOWED_ADDRESSES", [])  # empty: from anywhere
MAX_FORM_BYTES = 1024 * 1024
ADMIN_REQUIRE_2FA = env.bool("ADMIN_REQUIRE_2FA", bool(env.str("DATABASE_URL", "")))
ADMIN_IDLE_MINUTES = env.int("ADMIN_IDLE_MINUTES", 60)
SESSION_COOKIE_AGE = ADMIN_IDLE_MINUTES * 60  # counted anew with each page
SESSION_SAVE_EVERY_REQUEST = True
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
OTP_TOTP_ISSUER = "Remind"
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
UNFOLD = {
    "SITE_TITLE": "Remind",
    "SITE_HEADER": "Remind",
    "SITE_SYMBOL": "notifications_active",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("remind/favicon.svg")},
    ],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "STYLES": [lambda _: static("remind/console.css")],
    "SCRIPTS": [lambda _: static("remind/unfold.js"), lambda _: static("remind/console.js")],
    "SIDEBAR": {"navigation": "remind_site.console.navigation.sections"},
}  # fmt: skip

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from where they are installed: nothing to collect
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- HTTPS and proxies
HTTPS_ONLY = env.bool("HTTPS_ONLY", False)
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0)
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_REDIRECT_EXEMPT = [r"^health", r"^api/v1/health", r"^metrics/?$"]  # these come from inside, without TLS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
# With this prefix, browsers take a cookie from this very host alone, over TLS: a neighbouring name can't plant one.
COOKIE_PREFIX = "__Host-" if HTTPS_ONLY else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}sessionid", f"{COOKIE_PREFIX}csrftoken"
CSRF_COOKIE_HTTPONLY = True
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # what staff did is no cookie's business
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_COUNT else None

CORS_ALLOWED_ORIGINS = env.names(
    "CORS_ORIGINS", ["https://remind.dev", "http://localhost:3000", "http://localhost:8000"]
)
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_METHODS = ["GET", "POST", "OPTIONS"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "idempotency-key", "x-request-id"]
CORS_EXPOSE_HEADERS = [
    "X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After",
]  # fmt: skip
CORS_URLS_REGEX = r"^/(api/|health)"

# --- Database
DATABASE_POOL_MIN = env.int("DATABASE_POOL_MIN", 10)
DATABASE_POOL_MAX = env.int("DATABASE_POOL_MAX", sizing.MOST_CONNECTIONS)

LEDGER_IN_ONE_STATEMENT = env.bool("LEDGER_IN_ONE_STATEMENT", True)


# PgBouncer in transaction mode, in front of DATABASE_URL's database. Web processes go through it; commands and the
# worker, which need a session of their own (locks, pg_dump, migrations), do not.
DATABASE_POOLER_URL = env.str("DATABASE_POOLER_URL", "")
DATABASE_TIMEOUTS = {
    "statement_timeout": 5000,
    "lock_timeout": 3000,
    "idle_in_transaction_session_timeout": 10000,
}  # ms


def database() -> dict[str, Any]:
    """The database of DATABASE_URL, as this kind of process uses it."""
    chosen = env.str("DATABASE_URL", "") or f"sqlite:///{private_folder() / 'remind.sqlite3'}"
    pooled = WEB_PROCESS and bool(DATABASE_POOLER_URL)
    config: dict[str, Any] = dict(
        env.dj_db_url("DATABASE_POOLER_URL") if pooled else env.dj_db_url("DATABASE_URL", chosen)
    )
    options = config.setdefault("OPTIONS", {})
    if config["ENGINE"] == "django.db.backends.sqlite3":
        options.update(
            transaction_mode="IMMEDIATE",  # a transaction that would write later can't be refused halfway
            timeout=10,  # seconds that a writer waits for another
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        )
        return config
    options.setdefault("application_name", f"remind-{PROCESS}")  # for who looks at the server's connections
    if not pooled:
        # At once: the few statements of `licenses.connections`. Django's own never are.
        options["prepare_threshold"] = 0
    if WEB_PROCESS:
        config["CONN_HEALTH_CHECKS"] = True
        options.setdefault("connect_timeout", 2)
        # A server that is cut off, not stopped, sends no goodbye: notice within seconds.
        for name, value in {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}.items():
            options.setdefault(name, value)
        options.setdefault("tcp_user_timeout", 5000)
        if pooled:  # it refuses such options and sets them itself (deploy/pgbouncer); a cursor would outlive its turn
            config["DISABLE_SERVER_SIDE_CURSORS"] = True
        else:
            options.setdefault("options", " ".join(f"-c {name}={ms}" for name, ms in DATABASE_TIMEOUTS.items()))
        options["pool"] = {
            "min_size": min(DATABASE_POOL_MIN, DATABASE_POOL_MAX),
            "max_size": DATABASE_POOL_MAX,
            "timeout": 3,  # seconds that a request waits for a connection
            "max_lifetime": 3600,
            # Attempts to reconnect go on for this long, then the next request begins anew; the library's
            # default, a doubling pause over five minutes, leaves a healed database unnoticed.
            "reconnect_timeout": 2,
            "connection_class": BoundedConnection,
        }
    return config


DATABASES = {"default": database()}

# --- Counters and cache: shared where there is a REDIS_URL, else in this one process.
REDIS_URL = env.str("REDIS_URL", "")
REDIS_MAX_CONNECTIONS = WEB_THREADS
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "remind_site.cache.FailoverCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    }
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# django-ratelimit guards the log-in. It doubts every cache it does not know by name; ours counts atomically where
# it is shared, and else there is one process.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"]

# --- Limits
RATE_LIMIT_REQUESTS = env.int("RATE_LIMIT_REQUESTS", 10)
RATE_LIMIT_WINDOW_SECONDS = env.int("RATE_LIMIT_WINDOW_SECONDS", 60)
MAX_BODY_BYTES = 16 * 1024

# --- The AI provider
OPENAI_API_KEY = env.str("OPENAI_API_KEY", "")
OPENAI_BASE_URL = env.str("OPENAI_BASE_URL", "https://api.openai.com/v1")
OPENAI_MODEL = env.str("OPENAI_MODEL", "gpt-5-nano")
OPENAI_PARAMETERS: Any = env.json("OPENAI_PARAMETERS", None)  # replaces those known for the model's family
AI_PROVIDER_CHOSEN = bool(env.str("AI_PROVIDER", ""))
AI_PROVIDER = env.str("AI_PROVIDER", "") or ("openai" if OPENAI_API_KEY else "local")
AI_TIMEOUT_SECONDS = env.float("AI_TIMEOUT_SECONDS", 20.0)
AI_FALLBACK = env.bool("AI_FALLBACK", True)
AI_DAILY_BUDGET_USD: Decimal | None = env.decimal("AI_DAILY_BUDGET_USD", None)

# --- Payments
PADDLE_API_KEY = env.str("PADDLE_API_KEY", "")
PADDLE_WEBHOOK_SECRETS = env.names("PADDLE_WEBHOOK_SECRET", [])
PADDLE_CLIENT_TOKEN = env.str("PADDLE_CLIENT_TOKEN", "")  # public: Paddle.js runs with it in the buyer's browser
PADDLE_ENVIRONMENT = env.str("PADDLE_ENVIRONMENT", "sandbox")
PADDLE_BASE_URL = env.str("PADDLE_BASE_URL", "")
PADDLE_CLOCK_TOLERANCE_SECONDS = env.int("PADDLE_CLOCK_TOLERANCE_SECONDS", 30)
PADDLE_ALLOWED_ADDRESSES = env.names("PADDLE_ALLOWED_ADDRESSES", [])
PADDLE_GRACE_DAYS = env.int("PADDLE_GRACE_DAYS", 3)
MAX_WEBHOOK_BYTES = 256 * 1024
UNSIGNED_WEBHOOKS_A_MINUTE = 20  # per address; signed ones are never limited

# --- Mail
SITE_URL = env.str("SITE_URL", f"http://localhost:{env.int('PORT', 8000)}").rstrip("/")
EMAIL_SCHEME = urlsplit(env.str("EMAIL_URL", "")).scheme
EMAIL_FROM = env.str("EMAIL_FROM", "Remind <support@localhost>")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = EMAIL_FROM
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", "") or parseaddr(EMAIL_FROM)[1]
OPERATOR_EMAILS = env.names("OPERATOR_EMAILS", [])
ADMINS = [(address, address) for address in OPERATOR_EMAILS]
if env.str("EMAIL_URL", ""):
    vars().update(env.dj_email_url("EMAIL_URL"))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = private_folder("mail")
EMAIL_TIMEOUT = 10  # seconds

# --- Work outside requests: django-q2 in the database; at once, in the process, where there is only one.
Q_CLUSTER = {
    "name": "remind",
    "orm": "default",
    "sync": not env.str("DATABASE_URL", ""),
    "workers": 1,
    "timeout": 120,  # seconds a task may take
    "retry": 180,  # seconds after which a task whose worker died is handed out again
    "max_attempts": 5,
    "catch_up": False,  # a schedule that was missed runs once, not once for each time
    "poll": 1,
    "save_limit": 1000,
    "label": "Tasks",
}

# --- Backups
BACKUP_FOLDER = env.str("BACKUP_FOLDER", "")
BACKUP_S3_BUCKET = env.str("BACKUP_S3_BUCKET", "")
BACKUP_AGE_RECIPIENTS = env.names("BACKUP_AGE_RECIPIENTS", [])
BACKUP_AGE_IDENTITY = env.str("BACKUP_AGE_IDENTITY", "")
BACKUP_KEEP_DAYS = env.int("BACKUP_KEEP_DAYS", 30)
BACKUP_VERIFY = env.bool("BACKUP_VERIFY", True)
BACKUP_SCRATCH_URL = env.str("BACKUP_SCRATCH_URL", "")
BACKUP_PG_BIN = env.str("BACKUP_PG_BIN", "")
STORAGES["backups"] = (
    {
        "BACKEND": "remind_site.backups.store.BoundedS3",
        "OPTIONS": {
            "bucket_name": BACKUP_S3_BUCKET,
            "endpoint_url": env.str("BACKUP_S3_ENDPOINT_URL", "") or None,
            "region_name": env.str("BACKUP_S3_REGION", "") or None,
            "access_key": env.str("BACKUP_S3_ACCESS_KEY_ID", "") or None,
            "secret_key": env.str("BACKUP_S3_SECRET_ACCESS_KEY", "") or None,
        },
    }
    if BACKUP_S3_BUCKET
    else {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": BACKUP_FOLDER or BASE_DIR / "var" / "backups",
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }
)

# --- The API
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "remind_site.api.AnyAcceptNegotiation",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "remind_site.schema.ServiceSchema",
    "EXCEPTION_HANDLER": "remind_site.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Remind",
    "DESCRIPTION": "Turns a rough reminder into a better one, for those who hold a license.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "PREPROCESSING_HOOKS": ["remind_site.schema.one_spelling_a_route"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "remind_site.schema.describe_refusals",
    ],
    "COMPONENT_SPLIT_REQUEST": True,
}

# --- Errors and traces (remind_site/sentry.py). Hosts name the commit in variables of their own.
GIT_COMMIT = next(
    (env.str(name) for name in ("GIT_COMMIT", "HEROKU_SLUG_COMMIT", "RENDER_GIT_COMMIT") if env.str(name, "")), ""
)
SENTRY_DSN = env.str("SENTRY_DSN", "")
SENTRY_TRACES_SAMPLE_RATE = env.float("SENTRY_TRACES_SAMPLE_RATE", 0.1)
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", "production")
SENTRY_RELEASE = f"remind-service@{VERSION}" + (f"+{GIT_COMMIT[:12]}" if GIT_COMMIT else "")

# --- Figures
METRICS_TOKEN = env.str("METRICS_TOKEN", "")

# --- Logs
LOG_LEVEL = env.log_level("LOG_LEVEL", logging.INFO)
LOGGING_CONFIG = None  # remind_site.logs configures it, from remind_site.apps
