"""The example programs of docs/examples, compiled and run as their comments say."""
import re
import subprocess
import sys

from cluster import Cluster, ROOT, Scenarios, equal

s = Scenarios("parallel_cursor/examples")
EXAMPLES = ROOT / "docs" / "examples"


def counts(text):
    return sorted((name, int(rows)) for name, rows in re.findall(r"^(\w+): (\d+) rows", text, re.M))


with Cluster(superuser_service=True) as c:
    c.direct.sql("CREATE TABLE t AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 5000) g")
    c.start_proxy(keep_client_keys="on", parallel_cursor_min_size="65536", parallel_cursor_endpoints="3",
                  auth_query="SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1")

    @s.scenario("C with libpq")
    def _():
        program = c.folder / "parallel_retrieve"
        folder = subprocess.run(["pkg-config", "--variable=includedir", "libpq"], capture_output=True, text=True).stdout.strip()
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", program, EXAMPLES / "parallel_retrieve.c", f"-I{folder}", f"-I{folder}/postgresql", "-lpq", "-lpthread"], check=True)
        got = subprocess.run([program, c.proxy.dsn(), "SELECT * FROM t"], capture_output=True, text=True, timeout=60)
        equal(got.returncode, 0, got.stderr)
        rows = counts(got.stdout)
        equal(([n for n, _ in rows], sum(r for _, r in rows), all(r > 0 for _, r in rows)), (["c1_1", "c1_2", "c1_3"], 5000, True), got.stdout)
        equal(got.stdout.split("\n")[0], "FINISHED", "CHECK")

    @s.scenario("Python with psycopg2")
    def _():
        got = subprocess.run([sys.executable, EXAMPLES / "parallel_retrieve.py", c.proxy.dsn(), "SELECT * FROM t"], capture_output=True, text=True, timeout=60)
        equal(got.returncode, 0, got.stderr)
        rows = counts(got.stdout)
        equal(([n for n, _ in rows], sum(r for _, r in rows)), (["c1_1", "c1_2", "c1_3"], 5000), got.stdout)
        equal(got.stdout.split("\n")[-2], "FINISHED", "CHECK")

sys.exit(s.finish())
