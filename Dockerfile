# An image for CPUs, from the same pins as the two commands. From the repository's root:
#     docker build -t wsi-pipeline .
# A run: plain user, nothing of the image can be written to, slides read-only:
#     docker run --rm --read-only --tmpfs /tmp --user "$(id -u):$(id -g)" \
#         -v /archive:/slides:ro -v "$PWD/out":/out wsi-pipeline run /slides -o /out
# The review server; it prints a token, and asks for it:
#     docker run --rm --read-only --tmpfs /tmp --user "$(id -u):$(id -g)" -p 127.0.0.1:8000:8000 \
#         -v /archive:/slides:ro -v "$PWD/out":/out wsi-pipeline serve /out --slides /slides --host 0.0.0.0

FROM python:3.12-slim-bookworm AS build
WORKDIR /opt/wsi_pipeline
COPY . .
# The set-up of scripts/demo.py: pinned, with hashes; then bytecode, since a read-only root takes none.
RUN python scripts/demo.py --setup-only \
    && .venv/bin/python -m compileall -q wsi_pipeline

FROM python:3.12-slim-bookworm
COPY --from=build /opt/wsi_pipeline /opt/wsi_pipeline
RUN useradd --uid 1000 --no-create-home --home-dir /tmp wsi
ENV PATH=/opt/wsi_pipeline/.venv/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    WSI_PIPELINE_CONTAINER=1
USER 1000:1000
WORKDIR /out
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "/opt/wsi_pipeline/scripts/container_health.py"]
ENTRYPOINT ["wsi-pipeline"]
CMD ["--help"]
