#!/bin/bash
# run_demo.sh BUILD   what `make run` does when everything is built: a private PostgreSQL in .pgveneer,
# pgveneer in front of it on 127.0.0.1:6432, the database demo. In the foreground until Ctrl-C; a
# second call goes on with the data of the first.
#   PGVENEER_PORT=6432, PGVENEER_DIR=.pgveneer   to have it elsewhere (tests do)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd)
port=${PGVENEER_PORT:-6432}
dir=${PGVENEER_DIR:-$PWD/.pgveneer}
settings=(--set "listen_port=$port" --set log_level=warning)

if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "Port $port of 127.0.0.1 is taken. Is pgveneer running already? Else: make run PGVENEER_PORT=6433" >&2
    exit 1
fi

# As root the servers run as user postgres. Where that user cannot reach this folder, the demo lives
# in /var/lib/pgveneer.
if [ "$(id -u)" -eq 0 ] && ! runuser -u postgres -- test -r "$build/libduckdb.so"; then
    echo "The user postgres cannot reach $PWD: the demo's data go to /var/lib/pgveneer"
    install -d -m 0755 /var/lib/pgveneer
    install -m 0644 "$build/libduckdb.so" /var/lib/pgveneer/libduckdb.so
    settings+=(--set duckdb_library=/var/lib/pgveneer/libduckdb.so)
    dir=${PGVENEER_DIR:-/var/lib/pgveneer/demo}
fi

# server/ is PostgreSQL's alone; lake/ holds the sample Hudi table.
lake=$dir/lake
table=$lake/orders
mkdir -p "$lake"
chmod 0755 "$dir" "$lake"
if [ ! -d "$table/.hoodie" ]; then
    "$build/hudi_writer" create "$table" --name orders --key id --ordering updated_at \
        --sql "$(cat scripts/demo_first_commit.sql)" >/dev/null
fi

"$build/pgveneer" run --embedded "$dir/server" "${settings[@]}" --set "hudi_local_roots=$lake" &
pgveneer=$!
# Ctrl-C reaches pgveneer too, which drains and ends; we only wait for it.
trap '' INT
trap 'kill -TERM $pgveneer 2>/dev/null' TERM HUP
for _ in $(seq 600); do
    pg_isready -q -h 127.0.0.1 -p "$port" && break
    kill -0 $pgveneer 2>/dev/null || { wait $pgveneer || exit $?; }
    sleep 0.2
done

export PGHOST=127.0.0.1 PGPORT=$port PSQLRC=/dev/null PGCONNECT_TIMEOUT=10
as_admin() { PGPASSWORD=$(cat "$dir/server/password") psql -qXAt -v ON_ERROR_STOP=1 -U postgres "$@"; }
as_demo() { PGPASSWORD=demo psql -qXAt -v ON_ERROR_STOP=1 -U demo -d demo "$@"; }
seed() {
    [ "$(as_admin -d postgres -c "SELECT count(*) FROM pg_roles WHERE rolname = 'demo'")" = 1 ] ||
        as_admin -d postgres -c "CREATE ROLE demo LOGIN PASSWORD 'demo'"
    [ "$(as_admin -d postgres -c "SELECT count(*) FROM pg_database WHERE datname = 'demo'")" = 1 ] ||
        as_admin -d postgres -c "CREATE DATABASE demo OWNER demo"
    [ "$(as_demo -c "SELECT pg_catalog.to_regclass('public.in_rel') IS NOT NULL")" = t ] ||
        as_demo -1 -v folder="$table/" -f scripts/demo_seed.sql
}
if ! seed; then
    echo "The demo could not be set up." >&2
    kill -TERM $pgveneer
    wait $pgveneer || true
    exit 1
fi

cat <<TEXT

pgveneer is ready. In another terminal:

    psql postgresql://demo:demo@127.0.0.1:$port/demo

    SELECT create_hudi_sync_table();
    SELECT hudi_sync_task_submit('public.in_rel', 'public.hudi_read1', interval '5 seconds');
    SELECT * FROM in_rel ORDER BY id;

The README goes on from there; scripts/demo_commit.sh adds a commit to the Hudi table.
Ctrl-C stops both servers. The data stay in $dir.

TEXT
while kill -0 $pgveneer 2>/dev/null; do
    rc=0
    wait $pgveneer || rc=$?
done
exit "${rc:-0}"
