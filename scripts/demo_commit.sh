#!/bin/bash
# demo_commit.sh   two more commits in the demo's Hudi table: order 1 is paid and one order is new;
# order 2 is gone.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
table=${PGVENEER_DIR:-.pgveneer}/lake/orders
[ -d "$table" ] || table=/var/lib/pgveneer/demo/lake/orders
[ -d "$table" ] || { echo "no demo here: start it with make run" >&2; exit 1; }
# Calls so far; each leaves two commits behind the first one.
calls=$((($(find "$table/.hoodie" -name '*.commit' | wc -l) - 1) / 2))
id=$((6 + calls))
letter=$(printf "\\x$(printf %x $((64 + id % 26)))")
"$build/hudi_writer" upsert "$table" --sql "
    SELECT 1::BIGINT AS id, 'customer A' AS customer, 10.25::DECIMAL(12,2) AS amount,
           'paid' AS status, TIMESTAMP '2026-01-02' + to_minutes($calls) AS updated_at
    UNION ALL
    SELECT $id, 'customer $letter', $id * 10.25, 'open', TIMESTAMP '2026-01-02' + to_minutes($calls)"
"$build/hudi_writer" delete "$table" --keys-sql "SELECT 2::BIGINT AS id"
