# Training and judging with this project's own versions of scikit-learn and TensorFlow.
# BASE holds Python 3.11, and whatever pip is to know of your network: its index, its authority.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY requirements/images.lock requirements/runtime-current.lock /src/requirements/
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --no-cache-dir --require-hashes -r /src/requirements/images.lock \
 && python3 -m venv --without-pip /opt/kepler-train \
 && /opt/tools/bin/pip --python /opt/kepler-train/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r /src/requirements/runtime-current.lock
COPY pyproject.toml README.md LICENSE /src/
COPY components /src/components
COPY pipelines /src/pipelines
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel /src \
 && /opt/tools/bin/pip --python /opt/kepler-train/bin/python install --no-cache-dir --no-deps /tmp/wheel/*.whl \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/kepler-train/sbom.cdx.json \
        /opt/kepler-train/bin/python \
# Libraries' own tests and C headers are a fifth of it.
 && find /opt/kepler-train/lib -type d \( -name tests -o -name include \) -prune -exec rm -rf {} +

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kepler-train-current" \
      org.opencontainers.image.description="Trains Kepler's power models with current libraries" \
      org.opencontainers.image.source="https://github.com/sustainable-computing-io/kepler" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/kepler-train /opt/kepler-train
# What is written goes below /tmp: the root file system may be read-only.
ENV PATH=/opt/kepler-train/bin:${PATH} HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ARROW_DEFAULT_MEMORY_POOL=system TF_CPP_MIN_LOG_LEVEL=2
WORKDIR /tmp
USER 10001:10001
CMD ["kepler-train", "--help"]
