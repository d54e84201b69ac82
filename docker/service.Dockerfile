# One image a service: `docker build -f docker/service.Dockerfile --build-arg SERVICE=audit .`
# Python packages come from the lock by hash, without the development tools. The layers with the
# packages are the same for every service that names the same EXTRAS.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS packages
ARG EXTRAS=""
WORKDIR /build
COPY requirements.lock pyproject.toml ./
COPY infra/lock_subset.py infra/
# EXTRAS is a list of words.
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/pip \
    python infra/lock_subset.py ${EXTRAS} > subset.lock \
    && python -m venv /opt/tradewind \
    && /opt/tradewind/bin/pip install --disable-pip-version-check --quiet \
       --require-hashes --no-deps -r subset.lock

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 tradewind \
    && useradd --uid 10001 --gid tradewind --no-create-home --shell /usr/sbin/nologin tradewind \
    && install -d -o tradewind -g tradewind /var/lib/tradewind \
    && install -d -o 101 -g 101 -m 700 /out/authority /out/gateway
COPY --from=packages /opt/tradewind /opt/tradewind
ENV PATH=/opt/tradewind/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    TRADEWIND_HOST=0.0.0.0
WORKDIR /app
COPY alembic.ini ./
COPY migrations migrations
COPY infra/containers/__init__.py infra/containers/healthcheck.py infra/containers/certificate.py \
    infra/containers/
COPY infra/__init__.py infra/migrate.py infra/routes.py infra/gateway_policy.py \
    infra/nginx_config.py infra/
COPY infra/tls infra/tls
COPY libs libs
COPY strategies strategies
# One compiled copy for all services with the same EXTRAS; a container takes it into its own /tmp,
# because Numba uses a cache only where it may write.
COPY infra/containers/compile_ahead.py infra/containers/
RUN python -m compileall -q libs strategies infra \
    && NUMBA_CACHE_DIR=/opt/numba python -m infra.containers.compile_ahead \
    && chmod -R a+rX /opt/numba
COPY services/__init__.py services/
ARG SERVICE
COPY services/${SERVICE} services/${SERVICE}
RUN test -n "${SERVICE}" && python -m compileall -q services
ENV TRADEWIND_SERVICE=${SERVICE}
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=15s --start-period=180s --retries=6 \
    CMD ["python", "-I", "-S", "/app/infra/containers/healthcheck.py"]
ENTRYPOINT ["/bin/sh", "-c", "cp -r /opt/numba/. /tmp/numba && exec python -m services.${TRADEWIND_SERVICE}.main"]
