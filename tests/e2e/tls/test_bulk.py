"""Much data under TLS: COPY in both directions with readers that are slow, memory that stays bounded, what an
idle session costs, and pgjdbc with all that Drivers.java does."""
import hashlib
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import JAVA, Cluster, Scenarios, equal, wait_until  # noqa: E402
from rawpg import Q, data, done, kinds, values  # noqa: E402
from tlsraw import TlsRaw  # noqa: E402

HOST = "127.0.0.1"
ROWS = 60000
LINE = "SELECT repeat(md5(g::text), 32) FROM generate_series(1, %d) g"  # 1024 bytes and a line end
DRIVERS = pathlib.Path(__file__).resolve().parents[1] / "drivers" / "Drivers.java"
SANITIZED = "san" in os.environ.get("PGVENEER_BUILD", "")


def memory_kib(pid, field="VmRSS"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split(field + ":")[1].split()[0])


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


class Setting:
    def __init__(self, c):
        self.c, ca = c, Authority(c.folder, "ca")
        self.pair = ca.sign("server", dns=["localhost"], ip=[HOST])
        for name, value in (("ssl_cert_file", self.pair.cert), ("ssl_key_file", self.pair.key), ("ssl", "on"),
                            ("max_connections", 450)):
            c.direct.sql(f"ALTER SYSTEM SET {name} = '{value}'", user="postgres")
        c.postgres.restart()
        self.child = c.start_proxy("proxy", client_tls_sslmode="prefer", client_tls_cert_file=self.pair.cert,
                                   client_tls_key_file=self.pair.key, server_tls_sslmode="require",
                                   log_level="warning", threads=2)
        self.port, self.pid = self.child.settings["listen_port"], self.child.process.pid


def copy_out(t):
    """A client that takes its time: the proxy must not take the data in its place."""
    with TlsRaw(HOST, t.port, rcvbuf=65536) as c:
        c.login()
        reset_peak(t.pid)
        before = memory_kib(t.pid)
        c.send(Q("COPY (" + LINE % ROWS + ") TO STDOUT"))
        time.sleep(0.5)  # the pipe fills; nothing is measured by this
        total, digest = 0, hashlib.md5()
        while True:
            kind, body = c.message()
            if kind == "d":
                total += len(body)
                digest.update(body)
            elif kind == "Z":
                break
    equal(total, ROWS * 1025)
    wanted = hashlib.md5()
    for g in range(1, ROWS + 1):
        wanted.update((hashlib.md5(str(g).encode()).hexdigest() * 32 + "\n").encode())
    equal(digest.hexdigest(), wanted.hexdigest())
    grown = memory_kib(t.pid, "VmHWM") - before
    assert SANITIZED or grown < 8192, f"the proxy grew by {grown} KiB at its peak"


def copy_in(t):
    """A server that does not read (its table is locked): the client is slowed down, nothing is lost."""
    with TlsRaw(HOST, t.port) as c, TlsRaw(HOST, t.port) as holder:
        for session in (c, holder):
            session.login()
        c.query("CREATE TABLE IF NOT EXISTS taken (a text)")
        holder.query("BEGIN; LOCK TABLE taken")
        reset_peak(t.pid)
        before = memory_kib(t.pid)
        lines = [hashlib.md5(str(g).encode()).hexdigest() * 32 + "\n" for g in range(1, 1001)]
        block = b"".join(data(line.encode()) for line in lines)
        sent = [0]

        def send():
            for _ in range(ROWS // 1000):
                c.send(block)
                sent[0] += 1
            c.send(done())
        c.send(Q("COPY taken FROM STDIN"))
        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: t.c.direct.sql("SELECT count(*) FROM pg_locks WHERE NOT granted", user="postgres") == "1",
                   "COPY waits for the lock")

        def stuck():
            at = sent[0]
            time.sleep(0.3)
            return sent[0] == at
        wait_until(stuck, "the client is held up")
        assert sent[0] < ROWS // 1000, "everything was taken"
        grown = memory_kib(t.pid, "VmHWM") - before
        assert SANITIZED or grown < 8192, f"the proxy grew by {grown} KiB at its peak"
        holder.query("ROLLBACK")
        got = c.until_ready()
        thread.join()
        equal(kinds(got), "GCZI")
        equal(values(c.query("SELECT count(*), sum(length(a)), count(DISTINCT a) FROM taken")),
              [[str(ROWS), str(ROWS * 1024), "1000"]])
        c.query("DROP TABLE taken")


def both_ways(t):
    """A client that sends much without reading while the server answers much: nobody waits for ever."""
    query = Q("SELECT '" + "x" * 100000 + "'")
    with TlsRaw(HOST, t.port) as c:
        c.login()
        thread = threading.Thread(target=lambda: [c.sock.sock.sendall(piece) for piece in pieces])
        pieces = []
        for _ in range(200):
            c.tls.write(query)
            pieces.append(c.sock.outgoing.read())
        thread.start()
        time.sleep(0.3)
        equal(kinds(c.until_ready(200)), "TDCZI" * 200)
        thread.join()


def idle_sessions(t):
    """TLS on both legs; what one more session costs. The goal is 40 KiB for TLS and everything else."""
    count = 80
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    sessions = []

    def open_some():
        for _ in range(count):
            c = TlsRaw(HOST, t.port)
            c.login()
            sessions.append(c)
    try:
        open_some()  # the allocator's first pools, and OpenSSL's
        before = memory_kib(t.pid)
        open_some()
        each = (memory_kib(t.pid) - before) / count
        print(f"     an idle session with TLS on both legs: {each:.1f} KiB")
        assert SANITIZED or each < 80, f"{each:.1f} KiB for both legs"
        for c in sessions[::20]:
            equal(kinds(c.query("SELECT 1")), "TDCZI")
    finally:
        for c in sessions:
            c.close()


def jdbc(t):
    url = f"jdbc:postgresql://{HOST}:{{}}/app"
    tls = f"?sslmode=verify-full&sslrootcert={t.c.folder}/ca.crt"
    code = subprocess.run([*JAVA, DRIVERS, url.format(t.c.direct.port) + "?sslmode=disable", url.format(t.port) + tls],
                          timeout=600, capture_output=True, text=True)
    assert code.returncode == 0, code.stdout[-2000:] + code.stderr[-2000:]


def main():
    s = Scenarios("TLS, bulk")
    with Cluster(auth="password") as c:
        t = Setting(c)
        s.run("COPY out to a slow client", copy_out, t)
        s.run("COPY in to a slow server", copy_in, t)
        s.run("both ways at once", both_ways, t)
        s.run("idle sessions", idle_sessions, t)
        s.run("pgjdbc", jdbc, t)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
