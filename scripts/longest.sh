#!/bin/bash
# Prints the ten longest files and functions (STYLE: we watch the trend, nobody argues about a number).
set -euo pipefail
cd "$(dirname "$0")/.."
files=$(find base protocol proxy handlers include -name '*.[ch]' 2>/dev/null)
echo "longest files:"
# shellcheck disable=SC2086
wc -l $files | grep -v ' total$' | sort -rn | awk 'NR <= 10 { printf "  %5d  %s\n", $1, $2 }'
echo "longest functions:"
# A function starts at a "{" in the first column behind a line that is no struct, enum or array.
# shellcheck disable=SC2086
awk 'FNR == 1 { open = 0 }
     /^[a-z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
     /^\{/ { open = FNR }
     /^\}/ { if (open) printf "  %5d  %s:%s\n", FNR - open + 1, FILENAME, name; open = 0 }' $files |
    sort -rn | awk 'NR <= 10'
