# The service in one image: the web, the worker and every command. docs/DEPLOYMENT.md says how it is run.
ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
RUN python -m venv --without-pip /venv
COPY requirements.txt /tmp/requirements.txt
# Exactly what is pinned: nothing beside it, and nothing that would be compiled here.
RUN pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --only-binary :all: -r /tmp/requirements.txt \
    && pip --python /venv/bin/python check

FROM python:${PYTHON}
# For backups; of the same major version as compose.yaml's server, since older ones can't read a newer one.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client-15 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin remind
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py gunicorn.conf.py ./
COPY remind_site remind_site
COPY suggestions suggestions
COPY billing billing
COPY licenses licenses
COPY templates templates
RUN python -m compileall -q /app && install -d -m 700 -o remind -g remind /app/var
USER 10001:10001
EXPOSE 8000
# Liveness only: a database that is down must not get web processes killed. Other services switch it off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8000}/health\", timeout=4)"]
CMD ["gunicorn", "remind_site.wsgi"]
