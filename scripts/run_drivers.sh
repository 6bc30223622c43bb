#!/bin/bash
# run_drivers.sh BUILD [CLIENT…]   the driver matrix: tests/drivers/matrix.py
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fetch_postgresql18.sh
PGVENEER_BUILD=$PWD/$1 PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 tests/drivers/matrix.py "${@:2}"
