#!/bin/bash
# run_bench.sh BUILD   figures, not a test: what pgveneer costs on the way, beside PgBouncer, how fast a
# Hudi table arrives, beside COPY, a rebuild under load, beside pg_repack and CREATE TABLE AS, and how fast parallel retrieve
# cursors are read, beside SELECT. ROWS=5000000 in the environment is the size of the tables.
set -euo pipefail
cd "$(dirname "$0")/.."
export PGVENEER_BUILD=$(cd "$1" && pwd) PYTHONDONTWRITEBYTECODE=1
python3 tests/bench/passthrough_bench.py
python3 tests/bench/sync_bench.py "${ROWS:-5000000}"
python3 tests/bench/rebuild_bench.py "${ROWS:-5000000}"
python3 tests/bench/swap_bench.py
python3 tests/bench/capture_bench.py
python3 tests/bench/cursor_bench.py "${ROWS:-5000000}"
python3 tests/bench/logs_bench.py
