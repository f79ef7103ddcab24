# dse in a container; studies are read from and written to /work.
#
#   docker build -t dse .
#   docker run --rm -v "$PWD:/work" dse sweep squeeze_ratio.yaml --data folder:photos
#
# With NVIDIA GPUs (their container toolkit on the host):
#
#   docker build --build-arg EXTRA=[cuda] -t dse:cuda .
#   docker run --rm --gpus all -v "$PWD:/work" dse:cuda doctor
FROM python:3.12-slim AS build
ARG EXTRA=""
RUN python -m venv /opt/dse
COPY pyproject.toml README.md LICENSE /src/
COPY dse /src/dse
COPY search_spaces /src/search_spaces
RUN /opt/dse/bin/pip install --no-cache-dir "/src$EXTRA"

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 dse && mkdir /work && chown dse /work
COPY --from=build /opt/dse /opt/dse
ENV PATH=/opt/dse/bin:$PATH
USER 1000
WORKDIR /work
ENTRYPOINT ["dse"]
CMD ["--help"]
