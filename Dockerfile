# Image of the gateway: `docker build -t amux-image-gateway .`; docs/deploy.md has the settings to run it with.

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /opt/amux
COPY requirements.txt .
RUN python3 -m venv .venv && \
    .venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt && \
    .venv/bin/pip uninstall --quiet --yes setuptools pip
COPY app app
COPY serve.py wsgi.py gunicorn.conf.py ./
# The root file system may be read-only, so the bytecode is written now.
RUN .venv/bin/python -m compileall -q app serve.py wsgi.py

FROM ${PYTHON}
RUN groupadd --system --gid 10001 amux && \
    useradd --system --uid 10001 --gid amux --home-dir /opt/amux --no-create-home --shell /usr/sbin/nologin amux && \
    install -d -o amux -g amux -m 700 /var/lib/amux
COPY --from=build /opt/amux /opt/amux
COPY deploy/container/healthcheck.py /opt/amux/healthcheck.py
WORKDIR /opt/amux
# A read-only container has its /tmp in memory, so large bodies are spooled to the volume.
ENV PATH=/opt/amux/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    AMUX_SPOOL_FOLDER=/var/lib/amux \
    AMUX_STATE_FOLDER=/var/lib/amux/state \
    AMUX_JOURNAL_FOLDER=/var/lib/amux/journal
USER amux
# What the workers share, the answers that are kept, and the journal of charges: it must outlive the container.
VOLUME /var/lib/amux
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "healthcheck.py"]
# gunicorn is process 1 and stops as docs/deploy.md says. Give it longer than docker's 10 seconds: `docker stop -t 240`.
STOPSIGNAL SIGTERM
CMD ["python", "serve.py", "wsgi:app"]
