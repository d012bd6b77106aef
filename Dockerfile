# docker build -t styleloom .
# docker run --rm -v "$PWD:/work" styleloom generate portraits-64 --seeds 0-15 --grid 4x4 --out sheet.png
#
# For NVIDIA GPUs (with the NVIDIA Container Toolkit; run it with --gpus all):
# docker build -t styleloom --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 \
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
ARG BASE=python:3.12-slim
FROM ${BASE}

# CUDA's images come without Python.
RUN command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null \
  || (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*)

RUN python3 -m venv /opt/styleloom
ENV PATH=/opt/styleloom/bin:$PATH

# PyTorch first: it is large, and this layer stays when the sources change.
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "torch==${TORCH}"

COPY pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY src /src/src
RUN pip install --no-cache-dir '/src[metrics,tensorboard,video,figures,hub,onnx,app]' && rm -rf /src

# Runs, data sets and pictures are files of the user's folder, under the user's name.
RUN useradd --create-home --uid 1001 styleloom && mkdir /work && chown styleloom /work
USER styleloom
WORKDIR /work
ENTRYPOINT ["styleloom"]
CMD ["--help"]
