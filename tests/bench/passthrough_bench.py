#!/usr/bin/env python3
"""What pgveneer costs on the way: pgbench and COPY direct, through pgveneer, and through PgBouncer.

    passthrough_bench.py [--rounds 3] [--seconds 4] [--tls]

All stand in front of the same server. Each round takes the targets in turn; the table has medians, and the
median of the ratios to the direct connection of the same round. CPU is that of the proxy process, in
microseconds a transaction: it moves less than the rate on a machine with other work. PgBouncer runs in
session mode, one server connection a client, as pgveneer does. With --tls clients come under TLS (an EC
certificate), to the server itself too; behind the proxies the server is reached in the clear.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from certificates import Authority
from cluster import Cluster, Endpoint, Process, free_port, server_user, wait_until

COPY = "COPY (SELECT g, repeat('x', 100) FROM generate_series(1, 3000000) g) TO STDOUT"


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Target:
    def __init__(self, name, endpoint, pids=()):
        self.name, self.endpoint, self.pids = name, endpoint, list(pids)


def start_pgbouncer(c, tls=None):
    """PgBouncer in front of the cluster's server; None where it is not installed."""
    binary = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        return None, None
    port = free_port()
    (c.folder / "users.txt").write_text('"app" "app"\n')
    (c.folder / "pgbouncer.ini").write_text(f"""[databases]
app = host=127.0.0.1 port={c.direct.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {c.folder}/users.txt
pool_mode = session
default_pool_size = 50
server_tls_sslmode = disable
""" + ("" if tls is None else f"""client_tls_sslmode = require
client_tls_cert_file = {tls.cert}
client_tls_key_file = {tls.key}
"""))
    process = Process("pgbouncer", [binary, c.folder / "pgbouncer.ini"], c.folder / "pgbouncer.log",
                      signal.SIGTERM, cwd=c.folder, **server_user())
    endpoint = Endpoint("127.0.0.1", port)
    wait_until(endpoint.is_ready, "PgBouncer answers")
    return process, endpoint


def pgbench(target, mode, seconds, *options):
    """(transactions a second, CPU microseconds of the proxy a transaction)"""
    before = cpu_seconds(target.pids)
    out = subprocess.run(["pgbench", "-n", "-S", "-M", mode, "-c", "8", "-j", "2", "-T", str(seconds),
                          *options, "app"],
                         env=target.endpoint.env(), check=True, text=True, capture_output=True).stdout
    count = int(re.search(r"transactions actually processed: (\d+)", out).group(1))
    if count == 0:
        sys.exit(f"{target.name}: no transaction within {seconds} s")
    return (float(re.search(r"tps = ([0-9.]+) \((?:without|including)", out).group(1)),
            (cpu_seconds(target.pids) - before) * 1e6 / count)


def copy_out(target):
    """(rows a second, CPU microseconds of the proxy for 1000 rows)"""
    before, start = cpu_seconds(target.pids), time.monotonic()
    target.endpoint.psql("-qc", COPY, "-o", os.devnull, check=True, timeout=600)
    return 3e6 / (time.monotonic() - start), (cpu_seconds(target.pids) - before) * 1e6 / 3000


def measure(name, targets, rounds, run):
    results = {t.name: [] for t in targets}
    for i in range(rounds):
        for t in targets[i % len(targets):] + targets[:i % len(targets)]:
            results[t.name].append(run(t))
    base = [r[0] for r in results["direct"]]
    for t in targets:
        rate = statistics.median(r[0] for r in results[t.name])
        ratio = statistics.median(r[0] / b for r, b in zip(results[t.name], base))
        cpu = f"{statistics.median(r[1] for r in results[t.name]):10.1f}" if t.pids else f"{'':10}"
        print(f"{name:22}{t.name:12}{rate:12.0f}{ratio:8.2f}{cpu}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--tls", action="store_true")
    o = p.parse_args()
    with Cluster(settings={"shared_buffers": "512MB"}) as c:
        pair, settings = None, {}
        if o.tls:
            pair = Authority(c.folder, "ca").sign("server", ip=["127.0.0.1"])
            settings = {"client_tls_sslmode": "require", "client_tls_cert_file": pair.cert,
                        "client_tls_key_file": pair.key}
            for name, value in (("ssl_cert_file", pair.cert), ("ssl_key_file", pair.key), ("ssl", "on")):
                c.direct.sql(f"ALTER SYSTEM SET {name} = '{value}'", user="postgres")
            c.postgres.restart()
        pgveneer = c.start_proxy(command="proxy", log_level="warning", **settings)
        bouncer, endpoint = start_pgbouncer(c, pair)
        try:
            pid = pgveneer.process.pid
            targets = [Target("direct", c.direct), Target("pgveneer", c.proxy, [pid, *children(pid)])]
            if bouncer is not None:
                targets.append(Target("PgBouncer", endpoint, [bouncer.pid]))
            subprocess.run(["pgbench", "-i", "-q", "-s", "10", "app"], env=c.direct.env(), check=True,
                           capture_output=True)
            print(f"{'pass-through':22}{'':12}{'per second':>12}{'ratio':>8}{'CPU us':>10}")
            for mode in ("simple", "extended", "prepared"):
                measure(f"SELECT, {mode}", targets, o.rounds, lambda t, m=mode: pgbench(t, m, o.seconds))
            measure("COPY out, rows", targets, o.rounds, copy_out)
            measure("connections", targets, o.rounds, lambda t: pgbench(t, "simple", o.seconds, "-C"))
        finally:
            if bouncer is not None:
                bouncer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
