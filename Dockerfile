# The images of this project, one target each:
#   backend          the ML backend (the default): docker build .
#   demo             the backend's image with the synthetic birds
#   sagemaker-local  SageMaker on one machine, with the segmenter: trains and serves on the CPU
#   segmenter        the algorithm as SageMaker runs it, for an account of your own: `train` and `serve`
# Wheels in a folder `wheels` beside this file are preferred to downloads, for machines without a network.

# ---- the backend's packages: locked ------------------------------------------------------------------------------
FROM python:3.11-slim-bookworm AS backend-packages
COPY requirements.txt requirements-label-studio-ml.txt /
# What the SDK names among its needs and the part of it that the backend uses never imports: 300 MB less.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=wheels,target=/wheels \
    python -m venv /venv \
    && /venv/bin/pip install --disable-pip-version-check --find-links /wheels -r requirements.txt \
    && /venv/bin/pip install --disable-pip-version-check --no-deps -r requirements-label-studio-ml.txt \
    && /venv/bin/pip uninstall --quiet --yes opencv-python-headless pandas datamodel-code-generator faker nltk setuptools \
    && /venv/bin/pip uninstall --quiet --yes pip

# ---- PyTorch and what training and serving need ------------------------------------------------------------------
FROM python:3.11-slim-bookworm AS segmenter-packages
# PyPI's PyTorch for Linux on x86-64 brings CUDA (about 3 GB to download). The address of PyTorch's own index of CPU
# builds (its installation page names it, for the compute platform CPU) in PIP_EXTRA_INDEX_URL gives a
# tenth of that. Or put the wheel into `wheels`.
ARG PIP_EXTRA_INDEX_URL=""
COPY requirements-torch.txt requirements-segmenter.txt /
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=wheels,target=/wheels \
    python -m venv /venv \
    && /venv/bin/pip install --disable-pip-version-check --find-links /wheels -r requirements-torch.txt \
    && /venv/bin/pip install --disable-pip-version-check --find-links /wheels -r requirements-segmenter.txt \
    && /venv/bin/pip uninstall --quiet --yes pip

# ---- what all of them have: one user without a login, Python that writes nothing beside the code ------------------
FROM python:3.11-slim-bookworm AS base
LABEL org.opencontainers.image.title="Label Studio ML backend for Amazon SageMaker" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
# The folder for data may be written by any user, since some platforms run images under a number of their own.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app --mode=1777 /data
WORKDIR /app

# ---- segmenter: what SageMaker starts as `IMAGE train` and `IMAGE serve` ------------------------------------------
# SageMaker mounts /opt/ml as root's, so this one runs as root, as AWS's own images do.
FROM base AS segmenter
COPY --from=segmenter-packages /venv /venv
COPY segmenter ./segmenter
EXPOSE 8080
ENTRYPOINT ["python", "-m", "segmenter"]
CMD ["train"]

# ---- sagemaker-local ----------------------------------------------------------------------------------------------
FROM base AS sagemaker-local
COPY --from=segmenter-packages /venv /venv
COPY segmenter ./segmenter
COPY sagemaker_local ./sagemaker_local
USER 10001:10001
EXPOSE 9091
HEALTHCHECK --start-period=120s --start-interval=2s --interval=30s --timeout=10s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9091/livez', timeout=8)"]
CMD ["python", "-m", "sagemaker_local", "--data", "/data", "--host", "0.0.0.0", "--port", "9091"]

# ---- the backend --------------------------------------------------------------------------------------------------
FROM base AS service
COPY --from=backend-packages /venv /venv
COPY gunicorn.conf.py ./
COPY infra ./infra
COPY pipeline ./pipeline
COPY backend ./backend
ENV BIND_ADDRESS=0.0.0.0 \
    PORT=9090 \
    WORKERS=2 \
    THREADS=8 \
    MODEL_DIR=/data
USER 10001:10001
EXPOSE 9090
# Alive, not well: /health tells what is wrong with the set-up, and restarting would not mend that.
HEALTHCHECK --start-period=120s --start-interval=2s --interval=30s --timeout=10s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/livez', timeout=8)"]
# gunicorn lets requests end (30 s) when it is told to stop, and logs to stdout and stderr.
CMD ["gunicorn", "backend.app:create_app()"]

FROM service AS demo
COPY demo ./demo
CMD ["python", "-m", "demo", "play"]

FROM service AS backend
