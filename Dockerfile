# One image for every role: `penstock serve`, `penstock watch`, `penstock db init`.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY engine engine
COPY programs programs
COPY register register
COPY watcher watcher
COPY penstock penstock
COPY sql sql
RUN python -m venv /opt/penstock \
 && /opt/penstock/bin/pip install --no-cache-dir '.[postgresql,mysql]' \
 && /opt/penstock/bin/python -m compileall -q /opt/penstock/lib

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH
USER penstock
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstock"]
CMD ["--help"]
