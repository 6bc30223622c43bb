#!/bin/bash
# run_bench.sh BUILD [options of tests/bench/bench.py]   figures, not a test
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
shift
export PGVENEER_BUILD=$build PYTHONPATH=$PWD/tests/support PYTHONDONTWRITEBYTECODE=1
exec python3 tests/bench/bench.py "$@"
