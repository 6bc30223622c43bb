#!/bin/bash
# run_bench.sh BUILD   figures, not a test: what pgveneer costs on the way, beside PgBouncer, and how
# fast a Hudi table arrives, beside COPY. ROWS=5000000 in the environment is the size of the latter.
set -euo pipefail
cd "$(dirname "$0")/.."
export PGVENEER_BUILD=$(cd "$1" && pwd) PYTHONDONTWRITEBYTECODE=1
python3 tests/bench/passthrough_bench.py
python3 tests/bench/sync_bench.py "${ROWS:-5000000}"
