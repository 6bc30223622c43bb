#!/usr/bin/env python3
"""A rebuild under a write load, beside pg_repack and CREATE TABLE AS with the same indexes: total time, the longest
write stall, lost and doubled rows.

    rebuild_bench.py [ROWS]      default 5000000; PGVENEER_BUILD names the build folder

Drives ../shared/tools/rebuild-bench, once without and once with a reader that holds the table open for six seconds
at a time; skips with a message where that tool is not there. A run that takes longer than LIMIT_S in the environment (an hour)
is ended, and said so."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT.parent / "shared/tools/rebuild-bench"
LIMIT_S = int(os.environ.get("LIMIT_S", "3600"))
ROWS = sys.argv[1] if len(sys.argv) > 1 else "5000000"
SETTINGS = {"shared_buffers": "512MB", "maintenance_work_mem": "256MB", "max_wal_size": "8GB",
            "max_parallel_maintenance_workers": "2", "fsync": "on"}


def run(direct, proxy, reader):
    """pg_repack would ask the terminal for its password."""
    command = [TOOL, "--direct", direct, "--dsn", proxy, "--rows", ROWS, "--clients", "4", "--reader", reader, "--peers", "repack,ctas",
               "--command", "ASYNC REBUILD TABLE {t} SET (fillfactor = 100)"]
    try:
        return subprocess.run(command, timeout=LIMIT_S, stdin=subprocess.DEVNULL, start_new_session=True,
                              env={**os.environ, "PGPASSWORD": "app"}).returncode
    except subprocess.TimeoutExpired:
        print(f"rebuild_bench: not done within {LIMIT_S} s", flush=True)
        return 1


def main():
    if not TOOL.exists():
        print("rebuild_bench: skipped, there is no ../shared/tools/rebuild-bench")
        return 0
    failed = 0
    with Cluster(settings=SETTINGS) as c:
        c.start_proxy()
        c.direct.sql("ALTER ROLE app SUPERUSER", user="postgres")  # the tool writes checkpoints
        dsn = "host=127.0.0.1 port={} user=app password=app dbname=app"
        direct, proxy = dsn.format(c.postgres.port), dsn.format(c.proxy.port)
        for reader in ("0", "6"):
            print(f"\nrebuild of {ROWS} rows, 4 writers, reader of {reader} s", flush=True)
            failed |= run(direct, proxy, reader)
    return failed


if __name__ == "__main__":
    sys.exit(main())
