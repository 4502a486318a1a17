#!/usr/bin/env bash
# Edgedesk's two commands on a fresh machine, and the few that developers need.
#   ./build.sh demo            set up .venv, build the demo, install it, ask it
#   ./build.sh test [--slow]   set up .venv, run all checks and tests
#   ./build.sh setup           only set up .venv
#   ./build.sh wheels          llama-cpp-python for any x86-64 processor, into dist/wheels (about 20 minutes)
#   ./build.sh lock            write requirements.lock from what is installed
#   ./build.sh clean           remove .venv and work/
# Settings: PYTHON (interpreter), EDGEDESK_TORCH_INDEX (a package index with torch's CPU build), EDGEDESK_CACHE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; say "  hint: $2"; exit "${3:-5}"; }

need_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
    die "no Python 3.11 to 3.13 with venv" "apt-get install python3 python3-venv python3-dev, or set PYTHON=/path/to/python3"
}

need_machine() {
    command -v cc >/dev/null 2>&1 && command -v c++ >/dev/null 2>&1 ||
        die "no C and C++ compiler: llama.cpp is compiled here" "apt-get install build-essential"
    "$python" -c 'import sysconfig, pathlib, sys; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file())' ||
        die "the Python headers are missing" "apt-get install python3-dev"
    local free_mb memory_mb
    free_mb=$(df -Pm . | awk 'NR==2 {print $4}')
    [ "$free_mb" -ge "$1" ] || die "$free_mb MB of disk are free here, $1 MB are needed" "free space, or move the folder" 4
    memory_mb=$(awk '/^MemAvailable:/ {print int($2/1024)}' /proc/meminfo)
    [ "$memory_mb" -ge "$2" ] || die "$memory_mb MB of memory are free, $2 MB are needed" "stop other programs" 4
}

# The environment is whole or marked unfinished: the stamp is written last, and holds what it was made from.
stamp() { cat pyproject.toml requirements.lock "$0" | sha256sum | cut -d' ' -f1; }

setup() {
    need_python
    local wanted
    wanted="$(stamp) $("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])') $PWD"
    if [ -f .venv/edgedesk-stamp ] && [ "$(cat .venv/edgedesk-stamp)" = "$wanted" ]; then
        return
    fi
    need_machine 8000 3000
    say "setting up .venv (about 10 minutes the first time: llama.cpp is compiled)"
    local began=$SECONDS
    if [ ! -x .venv/bin/python ] || ! [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)' 2>/dev/null)" = "$PWD/.venv" ]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    rm -f .venv/edgedesk-stamp
    local pip=(.venv/bin/python -m pip --disable-pip-version-check)
    "${pip[@]}" install --quiet --upgrade "pip==26.3"
    # torch's plain name brings gigabytes of CUDA where no CPU build is at hand; another index can be named.
    local torch
    torch=$(grep -i '^torch==' requirements.lock)
    if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        say "  torch"
        if [ -n "${EDGEDESK_TORCH_INDEX:-}" ]; then
            "${pip[@]}" install --quiet --index-url "$EDGEDESK_TORCH_INDEX" "$torch"
        else
            "${pip[@]}" install --quiet -c requirements.lock "$torch"
        fi
    fi
    say "  llama-cpp-python, compiled for this machine"
    CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" "${pip[@]}" install --quiet -c requirements.lock "$(grep -i '^llama_cpp_python==' requirements.lock)"
    say "  everything else"
    "${pip[@]}" install --quiet -c requirements.lock --group dev -e '.[build]'
    printf '%s' "$wanted" >.venv/edgedesk-stamp
    say "  .venv is ready after $((SECONDS - began)) s"
}

demo() {
    setup
    need_machine 4000 5000
    local run=(.venv/bin/python edgedesk.py)
    mkdir -p work
    export EDGEDESK_HOME="${EDGEDESK_HOME:-$(cd work && pwd)/demo-home}"
    "${run[@]}" build recipes/demo.toml
    "${run[@]}" install work/northlight-en/bundle
    local question
    for question in "How long do I have to return something I bought?" \
        "What does standard delivery cost?" \
        "送货要多少钱？"; do
        printf '\n> %s\n' "$question"
        "${run[@]}" ask "$question"
    done
    printf '\nNow try: EDGEDESK_HOME=%q .venv/bin/edgedesk console\n' "$EDGEDESK_HOME"
}

run_tests() {
    setup
    local slow=(-m "not slow")
    [ "${1:-}" = "--slow" ] && slow=()
    say "checking style, types and imports"
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    .venv/bin/lint-imports
    .venv/bin/python edgedesk.py models fetch smollm2-135m-instruct >/dev/null ||
        say "  going on without the base model; tests that need it say so"
    # A file of tests stays with one process, so that what its fixtures make is made once; each computes with one core.
    OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n "$(nproc)" --dist loadfile "${slow[@]}"
}

wheels() {
    need_python
    need_machine 3000 2000
    local pin
    pin=$(grep -i '^llama_cpp_python==' requirements.lock)
    say "building $pin for any x86-64 processor"
    # Every kind of processor's code in a file of its own, beside libllama.so, where runtime/engine/llama/bindings.py looks.
    # No pictures and no sound (LLAVA): a branch has text only.
    CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-$(nproc)}" \
        CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DLLAVA_BUILD=OFF \
-DCMAKE_INSTALL_BINDIR=llama_cpp/lib -DCMAKE_INSTALL_LIBDIR=llama_cpp/lib" \
        "$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --no-cache-dir \
        --no-binary llama-cpp-python --wheel-dir dist/wheels "$pin"
    local built
    built=$(ls dist/wheels/llama_cpp_python-*.whl)
    "$python" -m zipfile --list "$built" | grep -q 'llama_cpp/lib/libggml-cpu-haswell.so' ||
        die "$built carries no variants" "delete it and look at CMAKE_ARGS in build.sh" 1
    printf '%s\n' "$built"
}

lock() {
    # What this environment holds, without the project itself and without local version labels such as +cpu.
    .venv/bin/python -m pip freeze --exclude edgedesk | sed 's/+cpu$//' >requirements.lock.new
    mv requirements.lock.new requirements.lock
}

case "${1:-}" in
    demo) demo ;;
    test) shift; run_tests "$@" ;;
    setup) setup ;;
    wheels) wheels ;;
    lock) lock ;;
    clean) rm -rf .venv work ;;
    *) sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
