"""Hudi tables in an S3-compatible store: the published copy-on-write tables are put into one and synchronised from
there, in one run and commit by commit, as test_tables does from a folder; also when one request of twenty fails. A few tables as a rule; all with PGVENEER_ALL_TABLES=1 or the names as arguments."""
import json
import os
import shutil
import subprocess
import sys

import test_tables as tables
from cluster import Scenarios, equal
from hudi_stored import Stored
from hudi_sync import quote
from s3 import Server

SOME = ["rs_cow_v6_complexkeygen_hivestyle", "rs_mor_v8_trips_8i3u1d", "rs_cow_v9_timebasedkeygen_nonhivestyle",
        "tr_hudi_non_extractable_partition_path", "rs_cow_v9_lance_nonpartitioned"]


def check_tables(s, h, server, names, faulty):
    counts = {"read": 0, "refused": 0, "instants": 0}
    known = tables.manifest()
    h = h.new_lane(1)
    for title in names or known:
        def both(title=title, table=known[title]):
            folder = tables.unpack(h, title, table["archive"])
            try:
                if table["final"] == "n/a":
                    tables.check_refused(h, title, folder)
                    counts["refused"] += 1
                    return
                if faulty:
                    server.faults.add(times=None, rate=0.05, status=503)
                    server.faults.add(times=None, rate=0.05, key="parquet", cut=1000)
                tables.check_full(h, title, table, folder)
                counts["instants"] += tables.check_steps(h, title, table, folder)
                counts["read"] += 1
            finally:
                server.faults.clear()
                tables.drop_tables(h)
                shutil.rmtree(h.folder / title)
                server.remove_folder("lake", f"tables/{title}")
        s.run(f"{title}{', some requests fail' if faulty else ''}", both)
    h.close_lane()
    print(f"stores: {counts['read'] + counts['refused']} of {len(names or known)} tables ({counts['read']} read, "
          f"{counts['refused']} refused as they must be), {counts['instants']} instants")


def check_one(s, h, server):
    columns = [("id", "integer"), ("v", "text")]
    h.write_config()
    h.writer("create", "t", "--key", "id", "--sql", "SELECT i::INTEGER AS id, 'a' AS v FROM range(1000) r(i)")
    h.sql("CREATE TABLE public.target (id integer PRIMARY KEY, v text)")

    @s.scenario("a table follows its commits; what is here already is not brought again")
    def _():
        h.foreign_table("ft", "t", columns)
        task = h.submit("public.target", "public.ft")
        h.run_well(task)
        equal(h.sql("SELECT count(*), min(v), max(v) FROM public.target"), "1000|a|a", "rows")
        h.writer("upsert", "t", "--sql", "SELECT i::INTEGER AS id, 'b' AS v FROM range(10) r(i)")
        h.writer("delete", "t", "--keys-sql", "SELECT 999::INTEGER AS id")
        h.store("t")
        server.forget()
        h.run_well(task)
        equal(h.sql("SELECT count(*), count(*) FILTER (WHERE v = 'b') FROM public.target"), "999|10", "rows")
        fetched = server.counted("GET", r"\.parquet$")
        before = len(fetched)
        h.sql("SELECT pgveneer.pg_task_pause(%s)" % quote(task))
        h.sql("SELECT pgveneer.hudi_set_sync_commit(%s, '20200101000000')" % quote(task))
        h.sql("SELECT pgveneer.pg_task_resume(%s)" % quote(task))
        h.run_well(task)
        equal(len(server.counted("GET", r"\.parquet$")), before, "downloads after a step back")
        h.sql(f"SELECT pgveneer.pg_task_remove({quote(task)})")

    check_errors(s, h, server, columns)


def check_errors(s, h, server, columns):
    def failing(server_name, state, *parts):
        h.sql("CALL pgveneer.drop_foreign_table('[[\"public\", \"ft\"]]', true, false)")
        h.foreign_table("ft", "t", columns, server=server_name)
        task = h.submit("public.target", "public.ft")
        h.run(task)
        got, _, log = h.outcome(task)
        h.sql(f"SELECT pgveneer.pg_task_remove({quote(task)})")
        equal(got, state, f"state after {log}")
        for part in parts:
            if part not in log:
                raise AssertionError(f"no {part!r} in {log!r}")
        for secret in ("wrong-secret", server.secret):
            if secret in log:
                raise AssertionError(f"a secret in {log!r}")

    @s.scenario("wrong keys suspend the task, and tell no secret")
    def _():
        h.make_server("keys", server.options(secret_access_key="wrong-secret"))
        failing("keys", "suspended", "does not accept the keys")
        h.make_server("place", server.options(address="a b"))
        failing("place", "suspended", "address")
        h.make_server("none", {"type": "obs"})
        failing("none", "suspended", "has no option")
        h.make_server("hdfs", {"type": "hdfs"})
        failing("hdfs", "suspended", "not supported")

    @s.scenario("a user mapping goes before the server's keys")
    def _():
        h.make_server("mapped", server.options(secret_access_key="wrong-secret"))
        for role, secret in (("PUBLIC", "wrong-secret"), ("app", server.secret)):
            options = json.dumps({"access_key": server.access_key, "secret_access_key": secret})
            h.sql(f"CALL pgveneer.create_user_mapping({quote(role)}, 'mapped', {quote(options)}, false)")
        h.sql("CALL pgveneer.drop_foreign_table('[[\"public\", \"ft\"]]', true, false)")
        h.foreign_table("ft", "t", columns, server="mapped")
        task = h.submit("public.target", "public.ft")
        h.run_well(task)
        h.sql(f"SELECT pgveneer.pg_task_remove({quote(task)})")

    @s.scenario("secret_key_file: the database has no secret in clear")
    def _():
        keys = [h.folder / "key1", h.folder / "key2"]
        for n, path in enumerate(keys):
            path.write_text(f"{n}{n}" * 32 + "\n")
            path.chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(path, "postgres")
        h.cluster.start_proxy(command="proxy", name="sealing", secret_key_file=keys[0])
        options = ", ".join(f"{k} {quote(v)}" for k, v in server.options().items())
        h.cluster.proxy.sql(f"CREATE SERVER sealed FOREIGN DATA WRAPPER dfs_fdw OPTIONS ({options})")
        equal(h.sql("SELECT string_agg(left(value, 10), ' ') FROM pgveneer.secret WHERE server = 'sealed'", user="postgres"),
              "sealed:v1: sealed:v1:", "secrets")
        h.write_config(secret_key_file=keys[1])
        failing("sealed", "suspended", "was not encrypted with the key")
        h.write_config()
        failing("sealed", "suspended", "is encrypted")
        h.write_config(secret_key_file=keys[0])
        keys[1].chmod(0o644)
        for path, said in ((keys[0], "secret_key_file: holds a key"), (keys[1], "readable by others"),
                           (h.config, "readable by others"), (h.folder / "no", "could not open")):
            done = h.pgveneer("check", "--set", f"secret_key_file={path}", check=False, stdout=subprocess.PIPE)
            equal(said in done.stdout.decode(), True, f"check of {path.name}: {done.stdout.decode()}")
        for name in ("sealed", "bucket"):  # the other one is in clear
            h.sql("CALL pgveneer.drop_foreign_table('[[\"public\", \"ft\"]]', true, false)")
            h.foreign_table("ft", "t", columns, server=name)
            task = h.submit("public.target", "public.ft")
            h.run_well(task)
            h.sql(f"SELECT pgveneer.pg_task_remove({quote(task)})")

    @s.scenario("no secret can be read by users, and none is in the server's log")
    def _():
        for query in ("SELECT value FROM pgveneer.secret", "SELECT * FROM pgveneer.secret"):
            equal(h.sql_error(query).sqlstate, "42501", query)
        if server.secret in h.sql("SELECT string_agg(options::text, ' ') FROM pgveneer.foreign_server"):
            raise AssertionError("a secret in the registry")


def main():
    if not (tables.DATA / "MANIFEST.md").exists():
        print(f"skipped: no test tables in {tables.DATA}")
        return 0
    names = sys.argv[1:] or ([] if os.environ.get("PGVENEER_ALL_TABLES") else SOME)
    s = Scenarios("stores")
    with Server(page=50) as server, Stored(server) as h:
        check_tables(s, h, server, names, faulty=False)
        check_tables(s, h, server, names[:1] if names == SOME else names, faulty=True)
        check_one(s, h, server)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
