#!/bin/bash
# run_soak.sh BUILD   the soak test for SOAK_SECONDS (600) each: tests/e2e/hudi/test_soak.py;
# STORE=local, STORE=s3: one of its stores alone
set -euo pipefail
cd "$(dirname "$0")/.."
SOAK_SECONDS=${SOAK_SECONDS:-600} SOAK_STORE=${STORE:-} PGVENEER_BUILD=$PWD/$1 PYTHONPATH=$PWD/tests/support PYTHONDONTWRITEBYTECODE=1 \
    exec /usr/bin/python3 tests/e2e/hudi/test_soak.py
