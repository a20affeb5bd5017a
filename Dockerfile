# One image for every role: `penstock serve`, `penstock watch`, `penstock db init`.
FROM python:3.12-slim AS build
WORKDIR /src
# what is installed is what the locks name, by hash; Penstock itself is built with hatchling from a lock of its own
COPY requirements requirements
RUN python -m venv /opt/penstock && python -m venv /opt/build \
 && /opt/penstock/bin/pip install --no-cache-dir --require-hashes -r requirements/production.lock \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY programs programs
COPY register register
COPY watcher watcher
COPY penstock penstock
COPY sql sql
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
 && /opt/penstock/bin/pip install --no-cache-dir --no-deps --no-index /opt/wheels/penstock-*.whl \
 && /opt/penstock/bin/python -m compileall -q /opt/penstock/lib

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH
USER penstock
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstock"]
CMD ["--help"]
