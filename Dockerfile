FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /app
COPY requirements.txt .
RUN /app/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY service service
RUN /app/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
 && /app/bin/pip uninstall --yes --quiet pip

FROM python:3.13-slim
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin callbridge \
 && install --directory --owner callbridge --group callbridge /data
COPY --from=build /app /app
COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATABASE_URL=sqlite:////data/callbridge.db \
    MEDIA_DIR=/data/media
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Starts as root only to make the volume its own, and goes on as callbridge.
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["callbridge"]
