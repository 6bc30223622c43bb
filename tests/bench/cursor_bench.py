"""How fast do N retrieve sessions read a table, beside one plain SELECT through the same proxy?

    cursor_bench.py [ROWS]        5,000,000 rows are about 530 MB of DataRows

Readers are processes that only drain their socket. Prints MB/s, the ratio to the plain SELECT, CPU seconds of
proxy and server per GB, and how much the proxy's memory grew.
"""
import multiprocessing
import os
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster  # noqa: E402
from cursors import Declarer  # noqa: E402
from rawpg import Q, Raw  # noqa: E402

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
TICK = os.sysconf("SC_CLK_TCK")
MB = 1e6


def stat(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def children(pid):
    return [int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and stat_or_none(p.name, pid)]


def stat_or_none(pid, parent):
    try:
        return stat(pid)[1] == str(parent)
    except OSError:
        return False


def cpu(pid, with_children=False):
    f = stat(pid)
    ticks = sum(map(int, f[11:15] if with_children else f[11:13]))
    for child in children(pid) if with_children else []:
        try:
            ticks += sum(map(int, stat(child)[11:13]))
        except OSError:
            pass
    return ticks / TICK


def memory(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024


def drain(raw, text):
    """Sends a Query and reads its answer to the end; bytes."""
    raw.send(Q(text))
    total, tail = 0, b""
    while tail[-6:-1] != b"Z\0\0\0\5":
        data = raw.sock.recv(1 << 20)
        total += len(data)
        tail = (tail + data)[-6:]
    return total


def reader(host, port, user, password, options, text, ready, go, results):
    raw = Raw(host, port, user, password, "app")
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    raw.login([("user", user), ("database", "app")] + ([("options", options)] if options else []))
    ready.put(1)
    go.wait()
    results.put(drain(raw, text))


def measure(c, pid, readers):
    """readers: (password, options, text). Seconds, bytes, CPU of proxy and server."""
    ready, results, go = multiprocessing.Queue(), multiprocessing.Queue(), multiprocessing.Event()
    started = [multiprocessing.Process(target=reader, args=(c.proxy.host, c.proxy.port, "app", p, o, t, ready, go, results)) for p, o, t in readers]
    for p in started:
        p.start()
    for _ in started:
        ready.get()
    server = c.postgres.process.pid
    before, start = (cpu(pid), cpu(server, True)), time.monotonic()
    go.set()
    total = sum(results.get() for _ in started)
    seconds = time.monotonic() - start
    for p in started:
        p.join()
    time.sleep(0.5)  # the server's processes end, and are counted by their parent
    return seconds, total, cpu(pid) - before[0], cpu(server, True) - before[1]


def main():
    with Cluster(superuser_service=True, settings={"shared_buffers": "512MB"}) as c:
        c.direct.sql(f"CREATE TABLE t AS SELECT g AS a, g % 1000 AS b, md5(g::text) AS c, repeat('x', 40) AS d FROM generate_series(1, {ROWS}) g", timeout=600)
        c.direct.sql("VACUUM ANALYZE t", timeout=600)
        c.start_proxy(command="proxy", keep_client_keys="on", auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1")
        pid = c.children[0].process.pid
        c.proxy.sql("SELECT count(*) FROM t", timeout=600)
        idle = memory(pid)
        print(f"{'reader':24} {'seconds':>8} {'MB/s':>8} {'ratio':>6} {'proxy CPU s/GB':>15} {'server CPU s/GB':>16} {'proxy +MiB':>10}")
        plain = 0
        for n in [0, 1, 2, 4]:
            if n == 0:
                seconds, total, proxy, server = measure(c, pid, [("app", None, "SELECT * FROM t")])
                plain, name = total / seconds, "SELECT"
            else:
                c.children[0].settings["parallel_cursor_endpoints"] = str(n)
                c.children[0].stop()
                c.children[0].start()
                pid = c.children[0].process.pid
                idle = memory(pid)
                with Declarer(c.proxy) as d:
                    d.run("BEGIN")
                    d.run("DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT * FROM t")
                    names, token = d.endpoints("c"), d.token()
                    seconds, total, proxy, server = measure(c, pid, [(token, "-c gp_session_role=retrieve", f"RETRIEVE ALL FROM ENDPOINT {e}") for e in names])
                    assert d.tag("CHECK PARALLEL RETRIEVE CURSOR c") == "FINISHED"
                name = f"{len(names)} endpoint(s)"
            grown = (memory(pid) - idle) / 2**20
            print(f"{name:24} {seconds:8.2f} {total / MB / seconds:8.0f} {total / seconds / plain:6.2f} {proxy / (total / 1e9):15.2f} {server / (total / 1e9):16.2f} {grown:10.1f}", flush=True)


if __name__ == "__main__":
    main()
