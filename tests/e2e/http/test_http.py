"""The HTTP interface: /metrics as Prometheus reads it, with the counters of the proxy and the tasks of the databases,
and /healthz. And the same numbers in hudi_sync_status."""
import http.client
import os
import re
import signal
import socket
import sys

from cluster import Scenarios, equal, free_port, wait_until
from hudi_sync import Hudi, quote

COLUMNS = [("id", "integer"), ("v", "text")]


def get(port, path, method="GET"):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        c.request(method, path)
        answer = c.getresponse()
        return answer.status, answer.read().decode()
    finally:
        c.close()


def parse(text):
    """{name{labels}: value}; checks the form on the way: heads once, before their samples, samples together."""
    out, types, names = {}, {}, []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            equal(name in types, False, f"a second head of {name}")
            types[name] = kind
            names.append(name)
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (\S+)', line)
            if not found:
                raise AssertionError(f"not a sample: {line!r}")
            equal(found.group(1), names[-1], "samples stand behind their head")
            equal(line.rsplit(" ", 1)[0] in out, False, f"twice: {line}")
            out[found.group(1) + (found.group(2) or "")] = float(found.group(3))
    return out


def main():
    s = Scenarios("http")
    with Hudi() as h:
        port = free_port()
        proxy = h.cluster.start_proxy(command="proxy", http_port=port, inspect_max=4096)
        through = h.cluster.proxy

        def metrics():
            status, text = get(port, "/metrics")
            equal(status, 200, text)
            return parse(text)

        h.writer("create", "t", "--key", "id", "--sql", "SELECT i::INTEGER AS id, 'a' AS v FROM range(100) r(i)")
        h.foreign_table("ft", "t", COLUMNS)
        h.sql("CREATE TABLE public.target (id integer PRIMARY KEY, v text)")

        @s.scenario("paths")
        def _():
            equal(get(port, "/healthz"), (200, "ok\n"), "/healthz")
            equal(get(port, "/nothing")[0], 404, "another path")
            equal(get(port, "/metrics", "HEAD"), (200, ""), "HEAD")
            equal(get(port, "/metrics", "POST")[0] in (405, 501), True, "POST")

        @s.scenario("counters of the proxy")
        def _():
            before = metrics()
            through.sql("SELECT repeat('x', 100000)")
            through.sql("SELECT task_id FROM pg_task_show('SQLonHudi')")
            through.sql("SELECT '" + "y" * 5000 + "'")
            equal(through.sql_error("SELECT hudi_sync_task_submit('public.nothing', 'public.ft')").sqlstate, "42P01", "error")
            through.sql("CREATE SERVER s1 FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local')")
            after = metrics()

            def grown(name):
                return after[name] - before[name]
            equal(grown("pgveneer_clients_accepted_total"), 5, "clients")
            equal(grown("pgveneer_logins_total"), 5, "logins")
            equal(grown("pgveneer_uninspected_statements_total"), 1, "uninspected")
            equal(grown('pgveneer_vendor_statements_total{kind="call"}'), 1, "calls")
            equal(grown('pgveneer_vendor_statements_total{kind="rewrite"}'), 2, "rewrites")
            sent = grown('pgveneer_bytes_total{leg="client",direction="sent"}')
            received = grown('pgveneer_bytes_total{leg="server",direction="received"}')
            if not (100000 < sent < 110000 and 100000 < received < 120000):
                raise AssertionError(f"sent {sent}, received {received}")
            if not 5000 < grown('pgveneer_bytes_total{leg="server",direction="sent"}') < 20000:
                raise AssertionError("bytes sent to the server")
            wait_until(lambda: metrics()["pgveneer_clients"] == 0, "no client is left")

        @s.scenario("cancel, refused and broken sessions")
        def _():
            before = metrics()
            running = through.psql("-c", "SET statement_timeout = '10s'", "-c", "SELECT 1")
            equal(running.returncode, 0, running.stderr)
            cancel = socket.create_connection(("127.0.0.1", through.port))
            cancel.sendall(bytes([0, 0, 0, 16, 4, 210, 22, 46]) + bytes(8))
            cancel.recv(1)
            cancel.close()
            twice = socket.create_connection(("127.0.0.1", through.port))
            for _ in range(2):  # SSLRequest
                twice.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
                twice.recv(1000)
            twice.close()
            nonsense = socket.create_connection(("127.0.0.1", through.port))
            nonsense.sendall(b"\xff" * 8)
            equal(nonsense.recv(1000), b"", "answer to nonsense")
            nonsense.close()
            after = metrics()
            equal(after["pgveneer_cancel_requests_total"] - before["pgveneer_cancel_requests_total"], 1, "cancels")
            equal(after["pgveneer_sessions_refused_total"] - before["pgveneer_sessions_refused_total"], 1, "refused")
            equal(after["pgveneer_protocol_errors_total"] - before["pgveneer_protocol_errors_total"], 1, "protocol errors")

        @s.scenario("tasks: lag, failures, rows")
        def _():
            task = h.submit("public.target", "public.ft")
            label = f'{{database="app",target="public.target",task_id="{task}"}}'
            h.run_well(task)
            now = metrics()
            equal(now['pgveneer_database_up{database="app"}'], 1, "the database")
            equal(now['pgveneer_tasks{database="app",state="active",category="SQLonHudi"}'], 1, "tasks")
            equal(now["pgveneer_hudi_lag_commits" + label], 0, "lag in commits")
            equal(now["pgveneer_hudi_rows_total" + label], 100, "rows")
            if not 0 <= now["pgveneer_hudi_lag_seconds" + label] < 60:
                raise AssertionError(f"lag {now['pgveneer_hudi_lag_seconds' + label]}")
            if now["pgveneer_hudi_rows_per_second" + label] <= 0:
                raise AssertionError("rows per second")
            for n in range(3):
                h.writer("upsert", "t", "--sql", f"SELECT {n}::INTEGER AS id, 'b' AS v")
            h.write_config(hudi_sync_max_commits=1)
            h.run_well(task)
            now = metrics()
            equal(now["pgveneer_hudi_lag_commits" + label], 2, "lag in commits")
            equal(now["pgveneer_hudi_rows_total" + label], 101, "rows")
            os.rename(h.folder / "t/.hoodie/hoodie.properties", h.folder / "away")
            h.run(task)
            now = metrics()
            equal(now['pgveneer_task_failures_total{database="app",task_id="' + task + '",category="SQLonHudi"}'], 1, "failures")
            equal(now["pgveneer_hudi_lag_commits" + label], 2, "lag in commits, as last known")
            os.rename(h.folder / "away", h.folder / "t/.hoodie/hoodie.properties")
            h.write_config()
            h.sql(f"SELECT pgveneer.pg_task_resume({quote(task)})")
            h.run_well(task)
            equal(metrics()["pgveneer_hudi_lag_commits" + label], 0, "lag in commits")
            row = h.sql("SELECT target_tbl, source_ftbl, state, failure_times, failure_count, last_error LIKE '%42P01%', "
                        "last_error_time < last_success_time, lag_commits, lag_seconds < 60, row_count, rows_per_second > 0 "
                        "FROM pgveneer.hudi_sync_status")
            equal(row, "public.target|public.ft|active|0|1|t|t|0|t|103|t", "hudi_sync_status")
            h.sql("CREATE ROLE other LOGIN PASSWORD 'other'", user="postgres")
            equal(h.sql("SELECT count(*) FROM pgveneer.hudi_sync_status", user="other"), "0", "what others see")
            h.sql("ALTER DATABASE app OWNER TO postgres", user="postgres")  # the service is no administrator then
            equal(metrics()["pgveneer_hudi_rows_total" + label], 103, "rows, to a service that is none of the owners")
            h.sql("ALTER DATABASE app OWNER TO app", user="postgres")
            equal(h.sql_error("SELECT * FROM pgveneer.hudi_status_of_all", user="other").sqlstate, "42501", "the view behind it")
            equal(h.sql_error("SELECT pgveneer.metrics()", user="other").sqlstate, "42501", "metrics are the service's")

        @s.scenario("a database that does not answer")
        def _():
            h.cluster.postgres.stop()
            try:
                now = metrics()
                equal(now['pgveneer_database_up{database="app"}'], 0, "the database")
                equal("pgveneer_logins_total" in now, True, "counters are there all the same")
            finally:
                h.cluster.postgres.start()
            wait_until(lambda: metrics().get('pgveneer_database_up{database="app"}') == 1, "the database is back")

        @s.scenario("twenty scrapes at once, some of which go away")
        def _():
            gone = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
            for c in gone:
                c.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            open_ones = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(10)]
            for c in open_ones:
                c.request("GET", "/metrics")
            for c in gone:
                c.close()
            for c in open_ones:
                answer = c.getresponse()
                equal(answer.status, 200, "status")
                parse(answer.read().decode())
                c.close()

        @s.scenario("while the proxy stops, it is not healthy")
        def _():
            import subprocess
            held = subprocess.Popen(["psql", "-X", "-c", "BEGIN", "-c", "SELECT pg_sleep(4)"], env=through.env(),
                                    stdout=subprocess.DEVNULL)
            wait_until(lambda: metrics()["pgveneer_clients"] == 1, "a client")
            wait_until(lambda: h.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", user="postgres") == "1",
                       "it works")
            proxy.process.kill(signal.SIGTERM)
            wait_until(lambda: get(port, "/healthz") == (503, "stopping\n"), "it says so")
            held.wait(30)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
