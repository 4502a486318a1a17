#!/usr/bin/env bash
# The chain's learning half on a machine with one NVIDIA GPU, in at most 10 minutes: tokens a second and memory into FILE.
#   benchmarks/gpu.sh [FILE] [options of gpu.py]       default: gpu.json
# Settings: PYTHON (an interpreter with the build's libraries and a CUDA build of torch; default: .venv), LIMIT_S (600).
set -euo pipefail
out=$(realpath -m "${1:-gpu.json}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || { printf 'error: no %s\n  hint: ./build.sh setup, or set PYTHON\n' "$python" >&2; exit 5; }
"$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' ||
    printf 'torch sees no GPU here: the CPU computes\n' >&2
PYTHONPATH=$PWD timeout "${LIMIT_S:-600}" "$python" benchmarks/gpu.py --out "$out" "${@:2}" ||
    { rc=$?; [ "$rc" != 124 ] || printf 'stopped after %s s; %s has the stages that ended\n' "${LIMIT_S:-600}" "$out" >&2; exit "$rc"; }
