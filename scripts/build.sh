#!/bin/bash
# build.sh PRESET FOLDER JOBS [cmake options…]   configures (once) and builds; PRESET as in
# CMakePresets.json. BUILD_TARGETS: these alone
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 folder=$2 jobs=$3
shift 3
scripts/fetch_duckdb.sh
duckdb_dir=${DUCKDB_DIR:-$PWD/.deps/duckdb}
cmake --preset "$preset" -B "$folder" -DDUCKDB_DIR="$duckdb_dir" "$@" >"$folder.log" 2>&1 || {
    cat "$folder.log" >&2
    exit 1
}
rm -f "$folder.log"
exec cmake --build "$folder" -j "$jobs" ${BUILD_TARGETS:+--target $BUILD_TARGETS}
