#!/usr/bin/env bash
# Every benchmark of the engine on both models, in sittings of at most eight minutes on two cores, on a machine that
# does nothing else. Figures go into a folder, one JSON object a file; docs/reference/benchmarks.md has the bars.
#   benchmarks/engine.sh OUT              all sittings, one after the other
#   benchmarks/engine.sh OUT small        one of: small large first typed soak (see below)
# The peer (benchmarks/peer.sh) and the 3B-shaped file (benchmarks/shape3b.py) are made first, if need be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:?usage: benchmarks/engine.sh OUT [SITTING]}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"

# A benchmark's last line is its JSON; one that does not hold ends with another code, and the others run all the same.
run() {
    local name=$1 model=$2 file
    shift 2
    file=$out/$name-$model
    printf '%s %s on %s\n' "$(date +%T)" "$name" "$model" >&2
    "$python" "benchmarks/$name.py" --model "$model" --json "$@" >"$file.txt" || true
    tail -n 1 "$file.txt" >"$file.json"
}

small() { # the 135M: some twelve minutes
    run throughput 135m
    run startup 135m
    run lookup 135m
    run packs 135m
    run neighbour 135m
    run fairness 135m --rounds 3
}
large() { # the 3B: some eight minutes
    run startup 3b --rounds 3
    run throughput 3b --rounds 2
    run fairness 3b --rounds 1
    run neighbour 3b --quick
    run lookup 3b
    run second_peer 3b --rounds 3
}
compile() { # what an installation does: some five minutes
    run first_token 3b --state "$out/first" --questions 40 --sitting compile
}
first() { # forty questions, the peer asked fourteen of them: some seven minutes
    run first_token 3b --state "$out/first" --questions 40 --sitting asked --peer-questions 14
}
typed() { # at 40 words a minute: eleven minutes, most of them waiting
    run first_token 3b --state "$out/first" --questions 40 --sitting typed
    run first_token 3b --state "$out/first" --questions 40 --sitting beside
}
soak() { # eight agents
    run soak 135m --minutes 10
}

benchmarks/peer.sh >&2
"$python" benchmarks/shape3b.py >&2
for sitting in ${2:-small large compile first typed soak}; do
    "$sitting"
done
