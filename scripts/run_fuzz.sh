#!/bin/bash
# run_fuzz.sh FOLDER JOBS   a minute (SECONDS_EACH), or RUNS executions, for each fuzz target, with ASan
# and UBSan
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
scripts/build.sh asan "$folder" "$2" | tail -1
for target in "$folder"/fuzz_*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=$(basename "$target")
    echo "== $name"
    mkdir -p "$folder/corpus/$name"
    seeds=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    limit=-max_total_time=${SECONDS_EACH:-60}
    [ -z "${RUNS:-}" ] || limit=-runs=$RUNS
    "$target" "$limit" -print_final_stats=1 -artifact_prefix="$folder/$name-" \
        "$folder/corpus/$name" ${seeds:+"$seeds"} 2>&1 | tail -8
done
