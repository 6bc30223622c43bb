#!/bin/bash
# run_fuzz.sh FOLDER JOBS   a minute (SECONDS_EACH), or RUNS executions, for each fuzz target, or for those
# of TARGETS ("log_rows properties"), with ASan and UBSan. Ends at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
targets=${TARGETS:-$(basename -s .c -a tests/fuzz/fuzz_*.c)}
names=()
for target in $targets; do
    names+=("fuzz_${target#fuzz_}")
done
BUILD_TARGETS=${names[*]} scripts/build.sh asan "$folder" "$2" | tail -1
limit=-max_total_time=${SECONDS_EACH:-60}
[ -z "${RUNS:-}" ] || limit=-runs=$RUNS
for name in "${names[@]}"; do
    echo "== $name"
    mkdir -p "$folder/corpus/$name"
    seeds=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$seeds" ] || seeds=
    "$folder/$name" "$limit" -timeout=120 -print_final_stats=1 -artifact_prefix="$folder/$name-" \
        "$folder/corpus/$name" ${seeds:+"$seeds"} 2>&1 | tail -8
done
