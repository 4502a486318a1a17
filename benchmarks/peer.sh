#!/usr/bin/env bash
# Builds the peers that benchmarks measure against out of the llama.cpp inside the pinned llama-cpp-python source, with
# the flags its wheel is built with. So peers and engine run the same kernels. Prints the folder that holds the programs.
#   benchmarks/peer.sh                              llama-server and llama-bench, built if need be (some 10 minutes on
#                                                   two cores, 1 GB of disk while it lasts)
#   benchmarks/peer.sh llama-quantize llama-perplexity      these alone, beside those that are there
# Settings: PYTHON, JOBS (parallel compilers; all cores), EDGEDESK_CACHE. Only PyPI is asked, for the source.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; say "  hint: $2"; exit 5; }

pin=$(grep -io '^llama-cpp-python==[^ ]*' requirements.lock)
version=${pin#*==}
cache=${EDGEDESK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgedesk}/peer
out=$cache/$version
[ $# -gt 0 ] || set -- llama-server llama-bench
built=yes
for program in "$@"; do [ -x "$out/bin/$program" ] || built=no; done
if [ $built = yes ]; then
    printf '%s\n' "$out/bin"
    exit
fi

python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null 2>&1 || python=python3
command -v c++ >/dev/null 2>&1 || die "no C++ compiler" "apt-get install build-essential"
command -v cmake >/dev/null 2>&1 || die "no cmake" "apt-get install cmake, or pip install cmake"
mkdir -p "$cache"

# One builder at a time; a build that was cut short leaves nothing under the name that is looked for.
exec 9>"$cache/lock"
flock -n 9 || die "another build of the peer is under way" "wait for it: it holds $cache/lock"
work=$cache/build-$version
trap 'rm -rf "$cache/partial"' EXIT

source=$cache/llama_cpp_python-$version.tar.gz
if [ ! -f "$source" ]; then
    say "fetching the source of $pin (77 MB)"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
        --dest "$cache" "$pin" >&2 || die "$pin could not be downloaded" "check the network, or put its source archive into $cache"
fi
if [ ! -f "$work/unpacked" ]; then
    rm -rf "$work"
    mkdir -p "$work"
    tar xzf "$source" -C "$work" --strip-components=1
    touch "$work/unpacked"
fi

say "building $* in $work"
generator=()
command -v ninja >/dev/null 2>&1 && generator=(-G Ninja)
# The first line is what the wheel sets (its CMakeLists.txt; Release and -march=native are defaults there, too).
cmake -S "$work/vendor/llama.cpp" -B "$work/build" "${generator[@]}" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_COMMON=ON \
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH='$ORIGIN' \
    -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >&2
cmake --build "$work/build" --target "$@" --parallel "${JOBS:-$(nproc)}" >&2

rm -rf "$cache/partial"
mkdir -p "$cache/partial" "$out/bin"
for program in "$@"; do cp -a "$work/build/bin/$program" "$cache/partial/"; done
# Libraries of an earlier build are of the same source and flags. They come first: a program that is there can be run.
cp -a "$work"/build/bin/lib*.so* "$out/bin/"
mv "$cache"/partial/* "$out/bin/"
rm -rf "$work"
printf '%s\n' "$out/bin"
