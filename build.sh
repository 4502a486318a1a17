#!/usr/bin/env bash
# Edgedesk's two commands on a fresh machine, and the few that developers need.
#   ./build.sh demo            set up .venv, build the demo, install it, ask it
#   ./build.sh test [--slow]   set up .venv, run all checks and tests; further words go to pytest
#   ./build.sh setup           only set up .venv
#   ./build.sh wheels          llama-cpp-python for any x86-64 processor, into dist/wheels (about 20 minutes)
#   ./build.sh app [FOLDER]    what a bare branch machine installs: wheels for all Pythons and install.sh, into dist/app;
#                              with `./build.sh app dist/app --perception` also what reads pictures and speech
#   ./build.sh lock            write requirements.lock: what is installed, with the hashes of its files
#   ./build.sh clean           remove .venv and work/
# Settings: PYTHON (interpreter), EDGEDESK_TORCH_INDEX (a package index with torch's CPU build), EDGEDESK_TORCH_SHA256
# (the one file of it to accept), JOBS (compilers at once), EDGEDESK_CACHE.
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
stamp() { cat pyproject.toml requirements*.lock "$0" | sha256sum | cut -d' ' -f1; }

# grep for lock files: the entries, hashes included, of packages whose name matches. `entries [-v] PATTERN FILE...`
entries() {
    local without=0
    [ "$1" = -v ] && without=1 && shift
    local pattern=$1
    shift
    awk -v pattern="^($pattern)\$" -v without="$without" '
        /^[A-Za-z0-9]/ { name = $1; sub(/==.*/, "", name); inside = (name ~ pattern) != without }
        inside && !/^#/' "$@"
}

setup() {
    need_python
    local wanted
    wanted="$(stamp) $("$python" -c 'import sys; print(sys.executable, sys.version.split()[0])') $PWD"
    if [ -f .venv/edgedesk-stamp ] && [ "$(cat .venv/edgedesk-stamp)" = "$wanted" ]; then
        return
    fi
    need_machine 8000 3000
    say "setting up .venv (compiling llama.cpp takes most of the time)"
    local began=$SECONDS
    if [ ! -x .venv/bin/python ] || ! [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)' 2>/dev/null)" = "$PWD/.venv" ]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    rm -f .venv/edgedesk-stamp
    # Twice quiet: errors only, else pip warns of each package that one of several indexes does not have. No dependency is
    # looked up: the lock names all of them, and nothing without one of its hashes is installed.
    local install=(.venv/bin/python -m pip --disable-pip-version-check install -qq --progress-bar off --no-deps)
    local hashed=("${install[@]}" --require-hashes --only-binary ":all:")
    say "  what installs and compiles"
    "${hashed[@]}" --requirement <(entries "pip|setuptools" requirements.lock)
    say "  torch"
    install_torch
    say "  everything else that needs no compiler"
    "${hashed[@]}" --requirement <(entries -v "pip|setuptools|torch|rouge-score|llama-cpp-python" requirements.lock)
    # PyPI has rouge-score as plain Python source alone; the locked setuptools makes the wheel.
    "${install[@]}" --require-hashes --no-build-isolation --requirement <(entries rouge-score requirements.lock)
    say "  llama-cpp-python, compiled for this machine"
    # Its build requirements are the locked ones just installed, hence no isolation. What Edgedesk does not use is left
    # out: pictures and sound (LLAVA), and llama.cpp's library of chat formats and downloads, which the package forces on.
    printf 'set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)\n' >.venv/llama-only.cmake
    PATH="$PWD/.venv/bin:$PATH" CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-$(nproc)}" \
        CMAKE_ARGS="-DLLAVA_BUILD=OFF '-DCMAKE_PROJECT_llama.cpp_INCLUDE=$PWD/.venv/llama-only.cmake'" \
        "${install[@]}" --require-hashes --no-build-isolation --requirement <(entries llama-cpp-python requirements.lock)
    "${install[@]}" --no-build-isolation --editable .
    .venv/bin/python -m pip --disable-pip-version-check check >/dev/null ||
        die "what is installed does not fit together" ".venv/bin/python -m pip check names it; after a change of pyproject.toml: ./build.sh lock" 1
    printf '%s' "$wanted" >.venv/edgedesk-stamp
    say "  .venv is ready after $((SECONDS - began)) s"
}

# torch: any build that the lock has a hash of; a CPU build, called +cpu, before the package index's own, which is the
# CUDA build with libraries of some gigabytes. The lock may not know the CPU build of an index that is named by
# EDGEDESK_TORCH_INDEX: EDGEDESK_TORCH_SHA256 gives the one file to accept; without it that index is trusted for torch.
install_torch() {
    local version needs hashes
    version=$(grep -io '^torch==[^ ]*' requirements.lock)
    if .venv/bin/python -c 'import sys, torch; sys.exit(torch.__version__.split("+")[0] != sys.argv[1])' "${version#*==}" 2>/dev/null; then
        return
    fi
    if [ -z "${EDGEDESK_TORCH_INDEX:-}" ]; then
        "${hashed[@]}" --requirement <(entries torch requirements.lock | sed "s/^$version/$version+cpu/") 2>/dev/null ||
            "${hashed[@]}" --requirement <(entries torch requirements.lock)
    elif [ -n "${EDGEDESK_TORCH_SHA256:-}" ]; then
        hashes=$(printf '%s --hash=sha256:%s' "$version" "$EDGEDESK_TORCH_SHA256")
        "${hashed[@]}" --index-url "$EDGEDESK_TORCH_INDEX" --requirement <(printf '%s\n' "$hashes")
    else
        say "    from $EDGEDESK_TORCH_INDEX, trusted: EDGEDESK_TORCH_SHA256 can name the one file to accept"
        "${install[@]}" --only-binary ":all:" --index-url "$EDGEDESK_TORCH_INDEX" "$version"
    fi
    needs=$(.venv/bin/python -m pip --disable-pip-version-check show torch)
    if grep -qi '^Requires:.*cuda' <<<"$needs"; then
        say "    and the CUDA libraries of this build: EDGEDESK_TORCH_INDEX can name an index that has a CPU build"
        "${hashed[@]}" --requirement requirements-cuda.lock
    fi
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
    if [ "${1:-}" = "--slow" ]; then
        slow=()
        shift
    fi
    say "checking style, types and imports"
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    .venv/bin/lint-imports
    .venv/bin/python edgedesk.py models fetch smollm2-135m-instruct >/dev/null ||
        say "  going on without the base model; tests that need it say so"
    for model in moonshine-tiny-en silero-vad; do
        .venv/bin/python edgedesk.py models fetch "$model" >/dev/null ||
            say "  going on without the speech model $model; tests that need it say so"
    done
    command -v strace >/dev/null 2>&1 || say "  strace is missing (apt-get install strace): faults of the disk are not tried"
    # A file of tests stays with one process, so that what its fixtures make is made once; each computes with one core.
    local pytest=(env OMP_NUM_THREADS=1 .venv/bin/python -m pytest "${slow[@]}") rc=0
    rm -f .pytest_cache/v/cache/lastfailed
    "${pytest[@]}" -n "$(nproc)" --dist loadfile --durations=25 "$@" || rc=$?
    # The tests run real servers and terminals beside each other on few cores. A few that fail there are tried once more,
    # alone, and stay named above; what fails twice, or more than a few, fails the run. Chosen tests get one try.
    [ "$rc" = 1 ] && [ $# = 0 ] && [ "$(failed_tests)" -le 3 ] || return "$rc"
    say "trying the failed tests once more, alone"
    "${pytest[@]}" --last-failed
}

failed_tests() {
    .venv/bin/python -c 'import json; print(len(json.load(open(".pytest_cache/v/cache/lastfailed"))))'
}

wheels() {
    need_python
    need_machine 3000 2000
    local pin scratch openmp
    pin=$(grep -io '^llama-cpp-python==[^ ]*' requirements.lock)
    say "building $pin for any x86-64 processor"
    scratch=$(mktemp -d)
    # OpenMP's library comes along: a plain Debian has none. Chat formats and downloads are left out, as in setup.
    openmp=$(readlink -f "$(gcc -print-file-name=libgomp.so.1)")
    cat >"$scratch/portable.cmake" <<END
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
install(FILES "$openmp" DESTINATION llama_cpp/lib RENAME libgomp.so.1)
END
    # Every kind of processor's code in a file of its own, beside libllama.so, where runtime/engine/llama/bindings.py looks.
    # No pictures and no sound (LLAVA): a branch has text only.
    CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-$(nproc)}" \
        CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DLLAVA_BUILD=OFF \
-DCMAKE_INSTALL_BINDIR=llama_cpp/lib -DCMAKE_INSTALL_LIBDIR=llama_cpp/lib '-DCMAKE_INSTALL_RPATH=\$ORIGIN' \
'-DCMAKE_PROJECT_llama.cpp_INCLUDE=$scratch/portable.cmake'" \
        "$python" -m pip --disable-pip-version-check wheel -qq --no-deps --no-cache-dir --require-hashes \
        --no-binary llama-cpp-python --wheel-dir dist/wheels --requirement <(entries llama-cpp-python requirements.lock)
    local built listed
    built=$(ls dist/wheels/llama_cpp_python-*.whl)
    rm -r "$scratch"
    # Listed whole before it is searched: grep stops at what it finds, and the broken pipe would count as a missing part.
    listed=$("$python" -m zipfile --list "$built")
    for part in libggml-cpu-haswell.so libggml-cpu-x64.so libgomp.so.1; do
        grep -q "llama_cpp/lib/$part" <<<"$listed" ||
            die "$built lacks $part" "delete it and look at CMAKE_ARGS in build.sh" 1
    done
    printf '%s\n' "$built"
}

# The `app` part of a release; deploy/make_app.py says what is in it.
app() {
    [ -x .venv/bin/python ] || setup
    compgen -G "dist/wheels/llama_cpp_python-*.whl" >/dev/null || wheels >/dev/null
    .venv/bin/python -m deploy.make_app "${1:-dist/app}" "${@:2}"
}

# Pins what .venv holds, and what pyproject.toml asks for beyond it, each with the hashes of all its files on the index.
lock() {
    # Not the whole set-up: it refuses an environment that lacks what pyproject.toml asks for, which is mended here.
    [ -x .venv/bin/uv ] || setup
    local scratch version compile cuda="nvidia-.*|cuda-.*|triton"
    scratch=$(mktemp -d)
    .venv/bin/python -m pip freeze --all --exclude edgedesk 2>/dev/null | sed 's/+cpu$//' >"$scratch/pins"
    version=$(grep -i '^torch==' "$scratch/pins")
    compile=(.venv/bin/uv pip compile --quiet --generate-hashes --no-annotate --no-header --constraint "$scratch/pins"
        --python-version 3.11 --python-platform x86_64-manylinux_2_28)
    "${compile[@]}" --extra build --extra perception --group dev pyproject.toml ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} \
        ${EDGEDESK_TORCH_INDEX:+--index "$EDGEDESK_TORCH_INDEX"} >"$scratch/all"
    # torch once more, from the package index alone: its builds there, and the CUDA libraries of the one for Linux.
    printf '%s\n' "$version" | "${compile[@]}" - >"$scratch/torch"
    {
        printf '# Written by ./build.sh lock: what ./build.sh setup installs, with the SHA-256 of every file of each version.\n'
        entries -v "torch|$cuda" "$scratch/all"
        # Any of several builds: the package index's, the CPU build this machine gets, and those known before.
        printf '%s' "$version"
        entries torch "$scratch/all" "$scratch/torch" <(grep -F -A 1000 "$version" requirements.lock) |
            grep -o 'sha256:[0-9a-f]*' | sort -u | while read -r hash; do printf ' \\\n    --hash=%s' "$hash"; done
        printf '\n'
    } >requirements.lock.new
    {
        printf '# Written by ./build.sh lock: what a branch runs, without the build: pip install --no-deps -r this, then the wheel.\n'
        "${compile[@]}" pyproject.toml
    } >requirements-branch.lock
    "${compile[@]}" --extra perception pyproject.toml >"$scratch/perception"
    {
        printf '# Written by ./build.sh lock: what the extra `perception` adds to requirements-branch.lock.\n'
        entries -v "$(grep -o '^[A-Za-z0-9._-]*==' requirements-branch.lock | sed 's/==$//' | paste -sd'|')" "$scratch/perception"
    } >requirements-perception.lock
    {
        printf '# Written by ./build.sh lock: libraries of the CUDA build of %s. A CPU build needs none of them.\n' "$version"
        entries "$cuda" "$scratch/torch"
    } >requirements-cuda.lock
    mv requirements.lock.new requirements.lock
    rm -r "$scratch"
}

case "${1:-}" in
    demo) demo ;;
    test) shift; run_tests "$@" ;;
    setup) setup ;;
    wheels) wheels ;;
    app) shift; app "$@" ;;
    lock) lock ;;
    clean) rm -rf .venv work ;;
    *) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
