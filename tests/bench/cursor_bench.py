"""How fast do N retrieve sessions read a table, beside one plain SELECT through the same proxy?

    cursor_bench.py [ROWS]        5,000,000 rows are about 530 MB of DataRows

Two tables. In the first the readers are libpq programs that look at each value (cursor_reader.c): what an
application gets. In the second they only drain their sockets: what the proxy and the server can give. Each
has MB/s of DataRows, the ratio to the plain SELECT, CPU seconds per GB of the proxy, of the server and of the
readers, how much memory the proxy had at its peak above its idle state, and the shares of the proxy's loops
in its work.
"""
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster, build_dir, wait_until  # noqa: E402
from cursors import Declarer  # noqa: E402
from rawpg import Q, Raw  # noqa: E402

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
TICK = os.sysconf("SC_CLK_TCK")
SELECT = "SELECT * FROM t"


# ---- CPU and memory ----

def stat(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu(pid):
    return sum(map(int, stat(pid)[11:13])) / TICK


def cpu_of_family(pid):
    """With the children that ended and those that live."""
    total = sum(map(int, stat(pid)[11:15])) / TICK
    for child in children(pid):
        try:
            total += cpu(child)
        except FileNotFoundError:
            pass  # counted by its parent from now on
    return total


def cpu_of_loops(pid):
    """Seconds of each loop of the proxy, by name."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if name.startswith("loop"):
            found[name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


def memory(pid, field):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split(field + ":")[1].split()[0]) / 1024


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


# ---- readers ----

class LibpqReader:
    """cursor_reader.c."""

    def __init__(self, endpoint, password, options, text):
        conninfo = f"host={endpoint.host} port={endpoint.port} user=app dbname=app password={password}"
        conninfo += f" options='{options}'" if options else ""
        self.process = subprocess.Popen([build_dir() / "cursor_reader", conninfo, text], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.wait_ready()

    def wait_ready(self):
        if self.process.stdout.readline() != "ready\n":
            sys.exit("a reader cannot connect")

    def start(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        """Bytes and CPU seconds."""
        out = self.process.communicate()[0].split()
        if self.process.returncode != 0:
            sys.exit("a reader failed")
        return int(out[1]), float(out[2])


class DrainReader:
    """A process that throws away what it reads."""

    def __init__(self, endpoint, password, options, text):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.run, args=(other, endpoint, password, options, text))
        self.process.start()
        self.pipe.recv()

    @staticmethod
    def run(pipe, endpoint, password, options, text):
        raw = Raw(endpoint.host, endpoint.port, "app", password, "app")
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        raw.login([("user", "app"), ("database", "app")] + ([("options", options)] if options else []))
        pipe.send("ready")
        pipe.recv()
        before = time.process_time()
        raw.send(Q(text))
        total, tail, block = 0, b"", memoryview(bytearray(1 << 20))
        while tail[-6:-1] != b"Z\0\0\0\5":
            n = raw.sock.recv_into(block)
            if n == 0:
                sys.exit("the proxy closed")
            total += n
            tail = (tail + bytes(block[max(0, n - 6):n]))[-6:]
        pipe.send((total, time.process_time() - before))

    def start(self):
        self.pipe.send("go")

    def result(self):
        result = self.pipe.recv()
        self.process.join()
        return result


# ---- measuring ----

def measure(c, kind, jobs):
    """jobs: (password, options, text) for each reader. A dict of figures."""
    proxy, server = c.children[0].process.pid, c.postgres.process.pid
    readers = [kind(c.proxy, *job) for job in jobs]
    backends = set(children(server))
    reset_peak(proxy)
    idle = memory(proxy, "VmRSS")
    before = cpu(proxy), cpu_of_family(server), cpu_of_loops(proxy)
    start = time.monotonic()
    for r in readers:
        r.start()
    results = [r.result() for r in readers]
    seconds = time.monotonic() - start
    wait_until(lambda: not set(children(server)) - backends, "the workers' processes end")
    gb = sum(bytes for bytes, _ in results) / 1e9
    loops = [after - before[2].get(name, 0) for name, after in sorted(cpu_of_loops(proxy).items())]
    return {"seconds": seconds, "MB/s": gb * 1000 / seconds, "proxy": (cpu(proxy) - before[0]) / gb,
            "server": (cpu_of_family(server) - before[1]) / gb,
            "readers": sum(spent for _, spent in results) / gb, "peak": memory(proxy, "VmHWM") - idle,
            "loops": "/".join(f"{100 * t / max(sum(loops), 0.001):.0f}" for t in loops)}


def measure_select(c, kind):
    return measure(c, kind, [("app", None, SELECT)])


def measure_cursor(c, kind, endpoints):
    """None where the cursor has another number of endpoints."""
    with Declarer(c.proxy) as d:
        d.run("BEGIN")
        d.run(f"DECLARE c PARALLEL RETRIEVE CURSOR FOR {SELECT}")
        names, token = d.endpoints("c"), d.token()
        assert len(names) == endpoints, names
        figures = measure(c, kind, [(token, "-c gp_session_role=retrieve", f"RETRIEVE ALL FROM ENDPOINT {e}") for e in names])
        assert d.tag("CHECK PARALLEL RETRIEVE CURSOR c") == "FINISHED"
    return figures


def restart(c, endpoints):
    proxy = c.children[0]
    proxy.settings["parallel_cursor_endpoints"] = str(endpoints)
    proxy.stop()
    proxy.start()


def table(c, title, kind):
    print(f"\n{title}")
    print(f"{'':14} {'seconds':>8} {'MB/s':>6} {'ratio':>6}   CPU s/GB: {'proxy':>6} {'server':>7} {'readers':>8} {'proxy +MiB':>11}  loops %")
    plain = None
    for n in (0, 1, 2, 4):
        if n > 0:
            restart(c, n)
        f = measure_select(c, kind) if n == 0 else measure_cursor(c, kind, n)
        plain = plain or f["MB/s"]
        name = "SELECT" if n == 0 else f"{n} endpoint" + "s" * (n > 1)
        print(f"{name:14} {f['seconds']:8.2f} {f['MB/s']:6.0f} {f['MB/s'] / plain:6.2f} {'':12} {f['proxy']:6.2f} {f['server']:7.2f} "
              f"{f['readers']:8.2f} {f['peak']:11.1f}  {f['loops']}", flush=True)


def main():
    with Cluster(superuser_service=True, settings={"shared_buffers": "512MB"}) as c:
        c.direct.sql(f"CREATE TABLE t AS SELECT g AS a, g % 1000 AS b, md5(g::text) AS c, repeat('x', 40) AS d FROM generate_series(1, {ROWS}) g", timeout=600)
        c.direct.sql("VACUUM ANALYZE t", timeout=600)
        c.start_proxy(command="proxy", keep_client_keys="on", auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1")
        c.proxy.sql("SELECT count(*) FROM t", timeout=600)
        table(c, "readers on libpq, a row at a time", LibpqReader)
        table(c, "readers that drain their sockets", DrainReader)


if __name__ == "__main__":
    main()
