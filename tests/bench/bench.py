"""make bench: figures, not a test. What pgveneer costs on the way, and how fast a synchronisation is.

    python3 tests/bench/bench.py [--seconds 10] [--rows 5000000] [passthrough] [sync]

Pass-through: pgbench through pgveneer and direct, one after the other, on the same server.
Sync: a generated Hudi table of ten columns into an empty table (direct load), then an upsert of a tenth of its rows
(staging), each as a ratio to COPY … FROM STDIN BINARY of the same rows into a like table with the same index. Peak
memory is that of the job process. Ratios are steadier than absolute figures on a machine with other work.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import threading
import time

from cluster import Cluster, build_dir, wait_until

COLUMNS = """id bigint PRIMARY KEY, customer bigint, item integer, quantity integer, price numeric(12,2),
             discount double precision, status text, note text, created date, updated_at timestamp"""
ROWS_SQL = """SELECT i AS id, i % 100003 AS customer, (i % 5003)::INTEGER AS item, (i % 7)::INTEGER AS quantity,
                     ((i % 99991) / 100.0)::DECIMAL(12,2) AS price, (i % 13) / 13.0::DOUBLE AS discount,
                     {status} AS status, 'note of order ' || i AS note, DATE '2026-01-01' + (i % 365)::INTEGER AS created,
                     TIMESTAMP '2026-01-01' + to_seconds(i % 1000000) AS updated_at
                FROM range({first}, {last}, {step}) AS r(i)"""


def pgbench(endpoint, mode, seconds, *more):
    out = subprocess.run(["pgbench", "-n", "-M", mode, "-c", "8", "-j", "2", "-T", str(seconds), *more, "app"],
                         env=endpoint.env(), check=True, text=True, capture_output=True).stdout
    return float(re.search(r"tps = ([0-9.]+) \(without", out).group(1))


def pass_through(c, seconds):
    subprocess.run(["pgbench", "-i", "-q", "-s", "10", "app"], env=c.direct.env(), check=True, capture_output=True)
    print(f"\npass-through: pgbench, scale 10, 8 clients, {seconds} s each", flush=True)
    print(f"{'':32}{'direct':>12}{'pgveneer':>12}{'ratio':>8}")
    for name, more in (("select only", ["-S"]), ("TPC-B like", [])):
        for mode in ("simple", "extended", "prepared"):
            direct = pgbench(c.direct, mode, seconds, *more)
            proxy = pgbench(c.proxy, mode, seconds, *more)
            print(f"{name + ', ' + mode:32}{direct:>8.0f} tps{proxy:>8.0f} tps{proxy / direct:>8.2f}", flush=True)
    query = "COPY (SELECT g, repeat('x', 100) FROM generate_series(1, 3000000) g) TO STDOUT"
    times = []
    for endpoint in (c.direct, c.proxy):
        start = time.monotonic()
        endpoint.psql("-qc", query, "-o", os.devnull, check=True, timeout=600)
        times.append(time.monotonic() - start)
    print(f"{'COPY out, 3 million rows':32}{times[0]:>10.2f} s{times[1]:>10.2f} s{times[0] / times[1]:>8.2f}", flush=True)


class PeakMemory:
    """Largest resident size of any `pgveneer job` process while the block runs."""

    def __enter__(self):
        self.kib, self.stop = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.stop.wait(0.02):
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    if b"job\0" not in open(path, "rb").read()[:64]:
                        continue
                    status = open(path.replace("cmdline", "status")).read()
                    self.kib = max(self.kib, int(re.search(r"VmHWM:\s+(\d+)", status).group(1)))
                except (OSError, AttributeError):
                    continue

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def hudi_writer(*args):
    subprocess.run([build_dir() / "hudi_writer", *args], check=True, stdout=subprocess.DEVNULL)


def run_time(c, count):
    """Waits for the history row number `count`; (seconds, rows) of that run."""
    view = "hudi_sync_state_history_view"

    def broken():
        log = c.proxy.sql("SELECT last_log FROM pg_task_show('SQLonHudi') WHERE failure_times > 0 OR is_broken")
        if log:
            raise AssertionError(f"the task failed: {log}")
        return int(c.proxy.sql(f"SELECT count(*) FROM {view}")) >= count
    wait_until(broken, f"run {count} has ended", timeout=1800, every=0.5)
    seconds, rows = c.proxy.sql(f"""SELECT extract(epoch FROM latest_sync_end - latest_sync_start), latest_sync_count
                                      FROM {view} ORDER BY latest_sync_start DESC LIMIT 1""").split("|")
    return float(seconds), int(rows)


def copy_time(c, query):
    """Seconds of COPY FROM STDIN BINARY of these rows into an empty table with the same index."""
    file = c.folder / "rows.bin"
    c.direct.psql("-qc", f"COPY ({query}) TO STDOUT (FORMAT binary)", "-o", str(file), check=True, timeout=1800)
    c.direct.sql(f"DROP TABLE IF EXISTS like_it; CREATE TABLE like_it ({COLUMNS})")
    start = time.monotonic()
    with open(file, "rb") as f:
        subprocess.run(["psql", "-Xqc", "COPY like_it FROM STDIN (FORMAT binary)"], stdin=f, check=True,
                       env=c.direct.env(), timeout=1800)
    seconds = time.monotonic() - start
    file.unlink()
    return seconds


def tell(name, rows, seconds, copied, peak_kib, goal):
    print(f"{name:32}{rows / seconds:>12.0f} rows/s{copied and rows / copied:>12.0f} rows/s"
          f"{copied / seconds:>8.2f} (goal {goal}){peak_kib / 1024:>8.0f} MiB", flush=True)


def sync(c, rows):
    print(f"\nsync: a Hudi table of {rows} rows and 10 columns", flush=True)
    table = c.folder / "orders"
    hudi_writer("create", table, "--name", "orders", "--key", "id", "--ordering", "updated_at", "--groups", "8", "--sql",
                ROWS_SQL.format(first=0, last=rows, step=1, status="'open'"))
    columns = COLUMNS.replace(" PRIMARY KEY", "")
    c.direct.sql("GRANT CREATE ON SCHEMA public TO app", user="postgres")
    c.proxy.sql("SELECT create_hudi_sync_table()")
    c.proxy.sql("CREATE SERVER lake FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local')")
    c.proxy.sql(f"""CREATE FOREIGN TABLE orders_lake ({columns}) SERVER lake
                    OPTIONS (foldername '{table}/', format 'hudi') DISTRIBUTE BY ROUNDROBIN""")
    c.proxy.sql(f"CREATE TABLE orders ({COLUMNS})")
    print(f"{'':32}{'sync':>19}{'COPY BINARY':>19}{'ratio':>8}{'peak of the job':>28}")
    with PeakMemory() as peak:
        c.proxy.sql("SELECT hudi_sync_task_submit('orders', 'orders_lake', interval '5 seconds')")
        seconds, done = run_time(c, 1)
    tell("empty table, direct load", done, seconds, copy_time(c, "SELECT * FROM orders"), peak.kib, 0.7)
    with PeakMemory() as peak:
        hudi_writer("upsert", table, "--sql", ROWS_SQL.format(first=0, last=rows, step=10, status="'paid'"))
        seconds, done = run_time(c, 2)
    copied = copy_time(c, "SELECT * FROM orders WHERE id % 10 = 0")
    tell("upsert of a tenth, staging", done, seconds, copied, peak.kib, 0.4)
    left = c.proxy.sql("SELECT count(*) FROM orders WHERE (status = 'paid') <> (id % 10 = 0)")
    assert left == "0", f"{left} rows are wrong"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--rows", type=int, default=5000000)
    p.add_argument("what", nargs="*", default=["passthrough", "sync"])
    o = p.parse_args()
    with Cluster(settings={"max_wal_size": "4GB", "shared_buffers": "512MB", "synchronous_commit": "on"}) as c:
        c.start_proxy(log_level="warning")
        if "passthrough" in o.what:
            pass_through(c, o.seconds)
        if "sync" in o.what:
            sync(c, o.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
