#!/bin/bash
# run_soak.sh BUILD   the soak test for SOAK_SECONDS (600): tests/e2e/hudi/test_soak.py
set -euo pipefail
cd "$(dirname "$0")/.."
SOAK_SECONDS=${SOAK_SECONDS:-600} PGVENEER_BUILD=$PWD/$1 PYTHONPATH=$PWD/tests/support PYTHONDONTWRITEBYTECODE=1 \
    exec /usr/bin/python3 tests/e2e/hudi/test_soak.py
