# Two stages: the wheel and its dependencies are built in the first, only the environment is shipped.
# The pages are in engine/liveroom/web/static as they are built (make assets): no Node here.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY engine engine
COPY plugins plugins
COPY clients/python clients/python
COPY loadtest loadtest
RUN python -m venv /opt/liveroom && /opt/liveroom/bin/pip install --no-cache-dir .

FROM python:3.12-slim
# The number is the one that deploy/kubernetes runs as. A volume takes its owner from the folder below it.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/liveroom liveroom \
    && install --directory --owner=liveroom --group=liveroom /var/lib/liveroom/data
COPY --from=build /opt/liveroom /opt/liveroom
ENV PATH=/opt/liveroom/bin:$PATH \
    LIVEROOM_HOST=0.0.0.0 \
    LIVEROOM_OPS_HOST=127.0.0.1 \
    LIVEROOM_DATA=/var/lib/liveroom/data \
    LIVEROOM_LOG_FORMAT=json
USER 10001
WORKDIR /var/lib/liveroom
VOLUME /var/lib/liveroom/data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/readyz', timeout=2)"]
# A key must be given (LIVEROOM_JWT_SECRET, …) or `serve --dev` be asked for; it refuses to start else.
ENTRYPOINT ["liveroom"]
CMD ["serve"]
