"""Lives and deaths of sessions: limits, refusals, cancel, the end of either side, back-pressure, drain."""
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from cluster import Cluster, Endpoint, Scenarios, SqlError, equal, free_port, pg_bin, wait_until
from rawpg import (B, C, D, E, H, P, Q, S, X, Closed, Raw, ServerError, data, done, fields, kinds,
                   one_cancel, values)
import rawpg

MIB = 1 << 20


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


def raw(endpoint, **more):
    return Raw(endpoint.host, endpoint.port, "app", **more)


def login(endpoint, **more):
    c = raw(endpoint, **more)
    c.login()
    return c


def is_sanitized():
    return "asan" in os.environ.get("PGVENEER_BUILD", "") or "tsan" in os.environ.get("PGVENEER_BUILD", "")


def main():
    s = Scenarios("sessions")
    with Cluster() as cluster:
        proxy = cluster.start_proxy("proxy", max_client_conn="12", client_login_timeout="2")
        to = cluster.proxy
        direct = cluster.direct

        def backends(text="query LIKE '%'"):
            return int(direct.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND " + text,
                                  user="postgres"))

        @s.scenario("53300 above max_client_conn, and again room afterwards")
        def _():
            wait_until(lambda: backends() == 0, "no sessions")
            held = [login(to) for _ in range(12)]
            with raw(to) as c:
                try:
                    c.login()
                    raise AssertionError("a thirteenth session")
                except ServerError as e:
                    equal((e.sqlstate, e.fields["S"], e.fields["V"]), ("53300", "FATAL", "FATAL"))
            for c in held:
                c.close()
            wait_until(lambda: backends() == 0, "no sessions")
            login(to).close()

        @s.scenario("a client that does not log in is closed after client_login_timeout")
        def _():
            with raw(to) as c:
                equal(c.until_closed(), [])
            with raw(to) as c:
                c.start()
                kind, _ = c.message()
                equal(kind, "R")
                got = c.until_closed()
                equal([k for k, _ in got], ["E"])
                equal(fields(got[0][1])["C"], "57014")

        @s.scenario("cancel hits the running query, and only that")
        def _():
            with login(to) as c:
                for _ in range(20):
                    c.send(Q("SELECT pg_sleep(30)"))
                    wait_until(lambda: backends("query LIKE 'SELECT pg_sleep%' AND state = 'active'") == 1, "it runs")
                    equal(one_cancel(to.host, to.port, c.pid, c.key), [])
                    got = c.until_ready()
                    equal([fields(b)["C"] for k, b in got if k == "E"], ["57014"])
                    equal(kinds(c.query("SELECT 1")), "TDCZI")
                equal(one_cancel(to.host, to.port, c.pid, b"\0\0\0\0"), [])
                equal(kinds(c.query("SELECT 1")), "TDCZI")

        @s.scenario("a cancel that was answered does not hit the next query (500 times)")
        def _():
            with login(to) as c:
                for _ in range(500):
                    one_cancel(to.host, to.port, c.pid, c.key)
                    equal(kinds(c.query("SELECT 1")), "TDCZI")

        @s.scenario("the client dies: what it sent is carried out, and the server session ends")
        def _():
            direct.sql("CREATE TABLE died (n int)")
            with login(to) as c:
                c.send(*[Q(f"INSERT INTO died VALUES ({n})") for n in range(50)])
            wait_until(lambda: direct.sql("SELECT count(*) FROM died") == "50", "all rows")
            wait_until(lambda: backends("application_name <> 'test'") == 0, "the session ends")

        @s.scenario("the client ends its side: it gets its answers")
        def _():
            with login(to) as c:
                c.send(Q("SELECT 1"), Q("SELECT pg_sleep(0.2)"), Q("SELECT 2"))
                c.sock.shutdown(socket.SHUT_WR)
                equal(kinds(c.until_closed()), "TDCZI" * 3)

        @s.scenario("the server process is killed: its last words come, then the end")
        def _():
            with login(to) as c:
                c.send(Q("SELECT pg_sleep(30)"))
                wait_until(lambda: backends("query LIKE 'SELECT pg_sleep%' AND state = 'active'") == 1, "it runs")
                direct.sql(f"SELECT pg_terminate_backend({c.pid})", user="postgres")
                got = c.until_closed()
                equal(kinds(got), "TE")
                equal(fields(got[-1][1])["C"], "57P01")
            with login(to) as c:
                direct.sql(f"SELECT pg_terminate_backend({c.pid})", user="postgres")
                equal([fields(b)["C"] for k, b in c.until_closed()], ["57P01"])

        @s.scenario("notifications arrive while idle")
        def _():
            with login(to) as c:
                c.query("LISTEN news")
                direct.sql("NOTIFY news, 'hello'")
                kind, body = c.message()
                equal((kind, body[4:]), ("A", b"news\0hello\0"))

        @s.scenario("a result of 1 GiB to a slow reader costs less than 1 MiB")
        def _():
            size = 128 if is_sanitized() else 1024
            with login(to, rcvbuf=65536) as c:
                c.query("SELECT repeat('x', 1000000)")
                before = rss(proxy.process.pid)
                most = 0
                c.send(Q(f"SELECT repeat('x', {MIB}) FROM generate_series(1, {size})"))
                got = 0
                while got < size * MIB:
                    more = c.sock.recv(1 << 18)
                    assert more, "closed"
                    got += len(more)
                    if got // (16 * MIB) != (got - len(more)) // (16 * MIB):
                        time.sleep(0.01)
                        most = max(most, rss(proxy.process.pid) - before)
            limit = 8 * MIB if is_sanitized() else MIB
            assert most < limit, f"{most} bytes more"

        @s.scenario("a query text of 20 MB and a parameter of 100 MB pass")
        def _():
            with login(to) as c:
                equal(values(c.query("SELECT length('" + "x" * 20_000_000 + "')")), [["20000000"]])
                c.send(P("", "SELECT length($1::text)"), B(values=["x" * 100_000_000]), E(), S())
                equal(values(c.until_ready()), [["100000000"]])

        @s.scenario("both directions full: nothing stands still")
        def _():
            direct.sql("CREATE TABLE IF NOT EXISTS sink (t text)")
            with login(to) as c:
                count, row = 200, "x" * 50_000
                batch = [P("", "SELECT $1::text"), B(values=[row]), E(), S()]
                sender = threading.Thread(target=lambda: [c.send(*batch) for _ in range(count)])
                sender.start()
                time.sleep(0.5)  # the client sends and does not read
                got = c.until_ready(count)
                sender.join()
                equal(len(values(got)), count)
                equal(kinds(c.query("SELECT 1")), "TDCZI")

        @s.scenario("psql, \\copy, large objects and pgbench's three protocols")
        def _():
            equal(to.sql("SELECT current_user || current_database()"), "appapp")
            to.psql("-c", "CREATE TABLE copied (n int, t text)", check=True)
            text = "".join(f"{n}\trow {n}\n" for n in range(100_000))
            to.psql("-c", "\\copy copied FROM STDIN", stdin=text, check=True)
            equal(to.psql("-c", "\\copy copied TO STDOUT", check=True).stdout, text)
            env = to.env()
            subprocess.run(["pgbench", "-i", "-q"], env=env, check=True, capture_output=True)
            for mode in "simple", "extended", "prepared":
                out = subprocess.run(["pgbench", "-n", "-M", mode, "-c", "6", "-j", "2", "-t", "200"], env=env,
                                     check=True, capture_output=True, text=True).stdout
                assert "number of transactions actually processed: 1200/1200" in out, out
            equal(to.sql("SELECT count(*) FROM pgbench_history"), "3600")

        @s.scenario("replication connections pass")
        def _():
            direct.sql("ALTER ROLE app REPLICATION", user="postgres")
            done = subprocess.run(["psql", "-X", "-Atc", "IDENTIFY_SYSTEM",
                                   f"{to.dsn()} replication=database"], capture_output=True, text=True)
            equal(len(done.stdout.split("|")), 4, done.stderr)

        @s.scenario("57P03 while the backend is down, and service again afterwards")
        def _():
            held = login(to)
            cluster.postgres.stop()
            equal([fields(b)["C"] for k, b in held.until_closed()], ["57P01"])
            with raw(to) as c:
                try:
                    c.login()
                    raise AssertionError("a session without a server")
                except ServerError as e:
                    equal((e.sqlstate, e.fields["S"], e.fields["V"]), ("57P03", "FATAL", "FATAL"))
            equal(subprocess.run(["pg_isready", "-q"], env=to.env()).returncode, 1)
            cluster.postgres.start()
            equal(to.sql("SELECT 1"), "1")

        @s.scenario("many logins leave nothing behind")
        def _():
            for _ in range(50):
                login(to).close()
            wait_until(lambda: backends("application_name <> 'test'") == 0, "no sessions")
            before = rss(proxy.process.pid)
            descriptors = len(os.listdir(f"/proc/{proxy.process.pid}/fd"))
            for _ in range(300):
                login(to).close()
            wait_until(lambda: backends("application_name <> 'test'") == 0, "no sessions")
            wait_until(lambda: len(os.listdir(f"/proc/{proxy.process.pid}/fd")) <= descriptors, "descriptors")
            if not is_sanitized():
                assert rss(proxy.process.pid) - before < MIB, "memory grows"

        @s.scenario("SIGTERM: idle clients go at once, a transaction may end, then the process ends")
        def _():
            idle, busy = login(to), login(to)
            busy.query("BEGIN")
            proxy.process.kill(signal.SIGTERM)
            equal([fields(b)["C"] for k, b in idle.until_closed()], ["57P01"])
            equal(kinds(busy.query("SELECT 1")), "TDCZT")
            busy.send(Q("COMMIT"))
            got = busy.until_closed()
            equal(kinds(got), "CZIE")
            equal(fields(got[-1][1])["C"], "57P01")
            wait_until(lambda: not proxy.process.is_running(), "the process ends")
            equal(proxy.stop(), 0)

        @s.scenario("SIGTERM twice: at once")
        def _():
            second = cluster.start_proxy("proxy", name="second")
            port = second.settings["listen_port"]
            with login(Endpoint("127.0.0.1", port)) as c:
                c.query("BEGIN")
                second.process.kill(signal.SIGTERM)
                time.sleep(0.3)
                equal(kinds(c.query("SELECT 1")), "TDCZT")
                second.process.kill(signal.SIGTERM)
                equal([fields(b)["C"] for k, b in c.until_closed()], ["57P01"])
            equal(second.stop(), 0)

        @s.scenario("a unix socket on both sides")
        def _():
            folder = cluster.folder / "sockets"
            folder.mkdir()
            folder.chmod(0o777)
            third = cluster.start_proxy("proxy", name="third", unix_socket_dir=str(folder),
                                        backend=f"host={cluster.postgres.socket_dir} port={cluster.postgres.port}")
            with Raw(str(folder), third.settings["listen_port"], "app") as c:
                c.login()
                equal(kinds(c.query("SELECT 1")), "TDCZI")
            equal(third.stop(), 0)

    for auth in "trust", "md5", "password":
        with Cluster(auth=auth) as cluster:
            cluster_test(s, cluster, auth)
    return s.finish()


def cluster_test(s, cluster, auth):
    def start(name, **settings):
        child = cluster.start_proxy("proxy", name=name, **settings)
        return Endpoint("127.0.0.1", child.settings["listen_port"])

    if auth == "trust":
        @s.scenario("a server that trusts: refused with 28000, and no query runs")
        def _():
            to = start("strict")
            with Raw(to.host, to.port, "app") as c:
                c.raw(rawpg.startup([("user", "app"), ("database", "app")]) + Q("CREATE TABLE broken_in (n int)"))
                got = c.until_closed()
                equal([fields(b)["C"] for k, b in got], ["28000"])
            equal(cluster.direct.sql("SELECT count(*) FROM pg_class WHERE relname = 'broken_in'"), "0")

        @s.scenario("a server that trusts, allow_trust_backend = on")
        def _():
            to = start("trusting", allow_trust_backend="on")
            with Raw(to.host, to.port, "app") as c:
                equal(kinds(c.login(behind=Q("SELECT 1")))[-2:], "ZI")
                equal(kinds(c.until_ready()), "TDCZI")
        return

    @s.scenario(f"login with {auth}")
    def _():
        to = start(auth)
        equal(to.sql("SELECT 1"), "1")
        equal(to.sql_error("SELECT 1", PGPASSWORD="wrong").sqlstate, "")


if __name__ == "__main__":
    sys.exit(main())
