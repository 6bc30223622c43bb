#!/bin/bash
# settings.sh PGVENEER   docs/settings.md is what the table of settings prints.
set -euo pipefail
cd "$(dirname "$0")/../.."
"$1" --print-settings | diff -u docs/settings.md - || {
    echo "docs/settings.md is old: build/pgveneer --print-settings >docs/settings.md"
    exit 1
}
