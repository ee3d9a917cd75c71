# syntax=docker/dockerfile:1
# restage with all it needs, the CUDA libraries included (they come with torch): with a GPU it is used, without one the CPU is.
#   docker build --tag restage .
#   docker run --rm --volume "$PWD/studio:/srv/restage/studio" restage restage doctor
FROM python:3.11-slim-bookworm

# libgomp: what torch computes with on several cores. tini: signals reach the program, and dead children are buried.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/*

# The same way as `make install`: these versions by their hashes, then the project itself. The large layer stays as long
# as requirements.txt does.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_LINK_MODE=copy \
    PATH=/opt/restage/bin:$PATH
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv /opt/restage \
    && pip install --quiet --disable-pip-version-check uv==0.13.8 \
    && uv pip install --python /opt/restage/bin/python --require-hashes --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt

WORKDIR /opt/source
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY tasks tasks
COPY board board
COPY flows flows
RUN uv pip install --python /opt/restage/bin/python --no-deps .

# Settings and personas to start from; a folder of one's own is mounted over them. The user owns what has to be written.
RUN useradd --create-home --uid 1000 restage \
    && mkdir -p /srv/restage/studio /srv/restage/cache \
    && chown -R restage:restage /srv/restage
WORKDIR /srv/restage
COPY --chown=restage:restage settings.toml ./
COPY --chown=restage:restage prompts prompts
USER restage

# Pictures, posts and words live in the studio; downloaded models in the cache, which may be deleted.
ENV HF_HOME=/srv/restage/cache/huggingface \
    XDG_CACHE_HOME=/srv/restage/cache \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1
VOLUME ["/srv/restage/studio", "/srv/restage/cache"]
EXPOSE 4200 8420

# `restage status` reads the settings and asks the store: it fails where nothing could go on.
HEALTHCHECK --interval=120s --timeout=30s --start-period=180s --retries=3 \
    CMD ["restage", "status", "--json"]

ENTRYPOINT ["tini", "--"]
CMD ["restage", "serve"]
