"""handlers/pgclient against a real server: settings after login, SQLSTATEs of refused logins in any
language, COPY, cancel, lost and silent connections, notifications."""
import subprocess
import sys

from cluster import Cluster, Scenarios, build_dir, equal, free_port

s = Scenarios("pgclient")


def probe(scenario, *args):
    done = subprocess.run([build_dir() / "pgclient_probe", scenario, *args], capture_output=True, text=True, timeout=60)
    equal(done.returncode, 0, done.stderr)
    return done.stdout.strip().split("\n")


with Cluster() as c:
    host = f"host=127.0.0.1 port={c.postgres.port}"
    login = f"{host} user=app password=app"

    def scenario(name, conninfo, *want, dbname=("app",)):
        s.run(name, lambda: equal(probe(name, conninfo, *dbname), list(want)))

    scenario("settings", login, "''", "'UTF8'", "'ISO, YMD'", "'postgres'", "'3'", "'UTC'", "'hex'", "'probe'")
    scenario("values", login, "1 x 4: 42 null 1 -1", "beyond: null")
    scenario("copies", login, "ok", "copied 2",
             '[23505] duplicate key value violates unique constraint "x_pkey"; Key (a)=(2) already exists.',
             '[42P01] relation "pg_temp.y" does not exist',
             "[08P01] the statement started no COPY FROM STDIN", "ok",
             "[08P01] a COPY was started where none is meant", "[08006] the connection to the server was lost")
    scenario("cancels", login, "[57014] canceling statement due to user request", "[22012] division by zero",
             "in transaction", "ok", "idle")
    scenario("losses", login, "[57P01] terminating connection due to administrator command", "lost -1",
             "[08006] no connection to the server")
    scenario("silence", login, "ok", "[08006] the server did not answer within 300 ms",
             "[08006] the connection to the server was lost")
    scenario("notifications", login, "ok", "quiet", "ok", "notified", "quiet")
    scenario("notices", login, "WARNING: mind the gap", "NOTICE: noted", "ok", "[AB123] no; D.; H.")

    def refused(what, conninfo, want, *dbname):
        def check():
            got = probe("values", conninfo, *dbname)[0]
            assert got.startswith(want), f"got {got!r}, want {want!r}"
            assert "secret" not in got, "a password in the text"
        s.run(what, check)

    refused("wrong password", f"{host} user=app password=secret", '[28P01] password authentication failed for user "app"')
    refused("no password", f"{host} user=app passfile=/dev/null", "[28P01] ")
    refused("no database", login, '[3D000] database "nope" does not exist', "nope")
    refused("no server", f"host=127.0.0.1 port={free_port()} user=app password=secret", "[08001] ")
    refused("no host", "host=/nowhere user=app password=secret", "[08001] ")
    refused("malformed", f"{host} secret", "[F0000] ")
    refused("the second host has the last word", f"host=127.0.0.1,127.0.0.1 port={free_port()},{c.postgres.port} "
            "user=app password=secret", "[28P01] ")

    @s.scenario("too many connections, and a role that may not log in")
    def _():
        c.direct.sql("ALTER ROLE app CONNECTION LIMIT 0", user="postgres")
        assert probe("values", login, "app")[0].startswith("[53300] too many connections"), "53300"
        c.direct.sql("ALTER ROLE app CONNECTION LIMIT -1 NOLOGIN", user="postgres")
        assert probe("values", login, "app")[0].startswith("[28000] "), "28000"
        c.direct.sql("ALTER ROLE app LOGIN", user="postgres")
sys.exit(s.finish())
