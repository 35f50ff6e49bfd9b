# dfdc-prep on a slim image, as a user without rights.
#   docker build -t dfdc-prep .
#   docker run --rm -v "$PWD:/data" dfdc-prep extract dfdc faces
#   docker run --rm -v "$PWD:/data" --entrypoint python dfdc-prep -m training.fit shards/
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

# The lock is the whole set of packages: dlib-bin in it is dlib as a wheel, so that no compiler
# is needed, and opencv-python-headless needs no libGL.
WORKDIR /src
COPY requirements.lock ./
RUN pip install --no-deps -r requirements.lock

COPY pyproject.toml setup.cfg README.md LICENSE cli.py ./
COPY dfdc_prep dfdc_prep
COPY manifests manifests
COPY training training
RUN pip install --no-deps --no-build-isolation .

# Models that are downloaded once are kept in /data/.cache, which outlives the container.
RUN useradd --create-home --uid 1000 researcher
USER researcher
ENV XDG_CACHE_HOME=/data/.cache KERAS_HOME=/data/.cache/keras
WORKDIR /data
ENTRYPOINT ["dfdc-prep"]
