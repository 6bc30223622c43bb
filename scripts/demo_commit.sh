#!/bin/bash
# demo_commit.sh   one more commit in the demo's Hudi table: order 1 is paid, order 2 is gone, and one
# order is new.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
table=${PGVENEER_DIR:-.pgveneer}/lake/orders
[ -d "$table" ] || table=/var/lib/pgveneer/demo/lake/orders
[ -d "$table" ] || { echo "no demo here: start it with make run" >&2; exit 1; }
id=$(date +%s)
"$build/hudi_writer" commit "$table" --upsert "
    SELECT 1::BIGINT AS id, 'customer A' AS customer, 10.25::DECIMAL(12,2) AS amount,
           'paid' AS status, now()::TIMESTAMP AS updated_at
    UNION ALL
    SELECT $id, 'customer Z', 99.90, 'open', now()::TIMESTAMP" --delete "SELECT 2::BIGINT AS id"
