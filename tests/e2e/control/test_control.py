"""The proxy's own connection to a database, as clients feel it: every way of logging in as `service`, a
service login that does not work, many clients that need the support schema at the same moment, a
server that is restarted, a database that is dropped and made again, NOTIFY after the commit."""
import os
import select
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, equal, free_port, wait_until  # noqa: E402

try:
    import psycopg2
except ImportError:  # a python3 of the user's own in front of the system's, which has the package
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

SHOW = "SELECT count(*) FROM pg_task_show('SQLonHudi')"


def with_service(c, name, **settings):
    """An Endpoint of one more proxy, with these settings, in front of a fresh database."""
    c.direct.sql("DROP SCHEMA IF EXISTS pgveneer, pgveneer_greenplum, hudi, hologres CASCADE", user="postgres")
    child = c.start_proxy("proxy", name=name.replace(" ", "_").replace("'", ""), **settings)
    endpoint = type(c.direct)("127.0.0.1", child.settings["listen_port"])
    return endpoint, child


def works(c, name, service):
    endpoint, child = with_service(c, name, service=service)
    equal(endpoint.sql(SHOW), "0")
    equal(endpoint.sql(SHOW), "0")
    child.stop()


def passfile(c):
    path = c.folder / "passfile"
    path.write_text(f"elsewhere:*:*:*:wrong\n127.0.0.1:{c.postgres.port}:app:service:service\n")
    path.chmod(0o600)
    os.chown(path, c.folder.stat().st_uid, c.folder.stat().st_gid)
    works(c, "passfile", f"host=127.0.0.1 port={c.postgres.port} user=service passfile={path}")


def fails(c, name, service, sqlstate, words):
    endpoint, child = with_service(c, name, service=service)
    e = endpoint.sql_error(SHOW)
    equal(e.sqlstate, sqlstate, str(e))
    if words not in str(e):
        raise AssertionError(f"{words!r} is not in: {e}")
    out = endpoint.psql("-At", "-f", "-", stdin=f"BEGIN;\n{SHOW};\nSELECT 1;\nROLLBACK;\nSELECT 'alive';\n")
    equal(out.stdout.split(), ["BEGIN", "ROLLBACK", "alive"], "the transaction failed, the session lives")
    equal(endpoint.sql("SELECT 2"), "2", "other statements")
    child.stop()


def no_service(c):
    fails(c, "no service", "", "55000", "service")


def all_at_once(c):
    """20 sessions need the support schema at the same moment: it is installed once, nobody waits in vain."""
    endpoint, child = with_service(c, "all at once")
    results = []

    def ask():
        try:
            results.append(endpoint.sql(SHOW))
        except Exception as e:  # told below
            results.append(str(e))
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(results, ["0"] * 20)
    equal(child.log_text().count("is up to date"), 1, "installations")
    equal(c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'service'", user="postgres"), "1",
          "connections of the proxy")
    child.stop()


def two_proxies_at_once(c):
    """They exclude each other by the advisory lock."""
    c.direct.sql("DROP SCHEMA IF EXISTS pgveneer, pgveneer_greenplum, hudi, hologres CASCADE", user="postgres")
    children = [c.start_proxy("proxy", name=f"twin{i}") for i in range(2)]
    endpoints = [type(c.direct)("127.0.0.1", x.settings["listen_port"]) for x in children]
    results = []
    threads = [threading.Thread(target=lambda e=e: results.append(e.sql(SHOW))) for e in endpoints * 4]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(results, ["0"] * 8)
    for child in children:
        child.stop()


def server_restarts(c):
    endpoint, child = with_service(c, "restarts")
    equal(endpoint.sql(SHOW), "0")
    c.postgres.restart()
    wait_until(endpoint.is_ready, "the proxy answers")
    equal(endpoint.sql(SHOW), "0")
    c.direct.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'service'", user="postgres")
    equal(endpoint.sql(SHOW), "0")
    child.stop()


def database_is_made_again(c):
    endpoint, child = with_service(c, "made again")
    make = "CREATE DATABASE again OWNER app; GRANT CREATE ON DATABASE again TO service"
    for _ in range(2):
        c.direct.sql(make, user="postgres", dbname="postgres")
        equal(endpoint.sql(SHOW, dbname="again"), "0")
        c.direct.sql("DROP DATABASE again WITH (FORCE)", user="postgres", dbname="postgres")
    child.stop()


def schema_lock_is_held(c):
    """Somebody holds what the installation needs: an error that says so, and it works later."""
    endpoint, child = with_service(c, "locked")
    holder = psycopg2.connect(c.direct.dsn("postgres"))
    holder.cursor().execute("SELECT pg_advisory_xact_lock(8101240731552867698)")
    e = endpoint.sql_error(SHOW)
    equal(e.sqlstate, "55P03", str(e))
    holder.rollback()
    equal(endpoint.sql(SHOW), "0")
    child.stop()


def notifications(c):
    """Workers are woken after the commit, not before, and not at all after a rollback."""
    endpoint, child = with_service(c, "notifies")
    endpoint.sql(SHOW)
    listener = psycopg2.connect(c.direct.dsn())
    listener.autocommit = True
    listener.cursor().execute("LISTEN pgveneer_task")

    def comes(timeout):
        ready = bool(select.select([listener], [], [], timeout)[0])
        listener.poll()
        count = len(listener.notifies)
        listener.notifies.clear()
        return ready and count > 0
    client = psycopg2.connect(endpoint.dsn())
    cur = client.cursor()
    cur.execute("SELECT create_hudi_sync_table()")
    client.commit()
    comes(1)
    cur.execute("SAVEPOINT s")
    try:
        cur.execute("SELECT pg_task_resume('none')")
    except psycopg2.Error:
        cur.execute("ROLLBACK TO s")
    client.rollback()
    equal(comes(0.5), False, "after a rollback")
    cur.execute("SELECT count(pg_task_resume(task_id)) FROM pg_task_show('SQLonHudi')")
    equal(comes(0.5), False, "before the commit")
    client.commit()
    equal(comes(10), True, "after the commit")
    child.stop()


def main():
    s = Scenarios("control connection")
    with Cluster(settings={"max_connections": "150"}) as c:
        at = f"host=127.0.0.1 port={c.postgres.port} user=service"
        s.run("scram-sha-256", works, c, "scram", f"{at} password=service")
        s.run("URI", works, c, "uri", f"postgresql://service:service@127.0.0.1:{c.postgres.port}/?sslmode=disable")
        s.run("unix socket", works, c, "socket",
              f"host={c.postgres.socket_dir} port={c.postgres.port} user=service password=service")
        s.run("password file", passfile, c)
        s.run("wrong password", fails, c, "wrong password", f"{at} password=wrong", "28P01", "password")
        s.run("no password", fails, c, "no password", at, "28P01", "password")
        s.run("unknown role", fails, c, "unknown role", f"host=127.0.0.1 port={c.postgres.port} user=nobody password=x",
              "28P01", "nobody")
        s.run("nobody listens there", fails, c, "nobody listens", f"host=127.0.0.1 port={free_port()} user=x", "08006",
              "refused")
        c.direct.sql("CREATE ROLE weak LOGIN PASSWORD 'weak'", user="postgres")
        s.run("no rights", fails, c, "no rights", f"host=127.0.0.1 port={c.postgres.port} user=weak password=weak",
              "42501", "permission")
        s.run("service is not set", no_service, c)
        s.run("20 sessions at once", all_at_once, c)
        s.run("two proxies at once", two_proxies_at_once, c)
        s.run("the server restarts", server_restarts, c)
        s.run("a database is made again", database_is_made_again, c)
        s.run("the schema's lock is held", schema_lock_is_held, c)
        s.run("workers are notified after the commit", notifications, c)
    for auth in ("md5", "password", "trust"):
        with Cluster(auth=auth) as c:
            settings = {"allow_trust_backend": "on"} if auth == "trust" else {}
            c.start_proxy("proxy", **settings)
            s.run(auth, lambda c=c: equal(c.proxy.sql(SHOW), "0"))
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
