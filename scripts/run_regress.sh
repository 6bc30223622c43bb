#!/bin/bash
# run_regress.sh BUILD [SUITE…]   PostgreSQL's own tests through pgveneer: tests/regress/regress.py
set -euo pipefail
cd "$(dirname "$0")/.."
PGVENEER_BUILD=$PWD/$1 PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 tests/regress/regress.py "${@:2}"
