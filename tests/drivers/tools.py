"""pg_dump, pg_restore and the replication clients through pgveneer: each does its work through the proxy,
and the result is checked against the server itself."""
import os
import pathlib
import subprocess
import tempfile

from cluster import Cluster, Scenarios, equal, pg_bin, wait_until

SETTINGS = {"wal_level": "logical", "max_wal_senders": "10", "max_replication_slots": "10"}
ROWS = "SELECT count(*) || ' ' || md5(string_agg(t::text, ',' ORDER BY id)) FROM items t"


def tool(cluster, *args, endpoint=None, user="app", dbname="app", timeout=120):
    endpoint = endpoint or cluster.proxy
    done = subprocess.run([*map(str, args)], env=endpoint.env(user, dbname), capture_output=True, text=True,
                          timeout=timeout, cwd=cluster.folder)
    if done.returncode != 0:
        raise AssertionError(f"{args[0]}: {done.stderr[-1500:]}")
    return done.stdout


def start(cluster, *args, user):
    return subprocess.Popen([*map(str, args)], env=cluster.proxy.env(user, "app"), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, cwd=cluster.folder)


def stop(process):
    process.terminate()
    process.communicate(timeout=60)


def prepare(c):
    c.direct.sql("ALTER ROLE app REPLICATION", user="postgres")
    c.direct.sql("CREATE DATABASE copy OWNER app", user="postgres", dbname="postgres")
    c.direct.sql("ALTER ROLE app SUPERUSER", user="postgres")  # CREATE SUBSCRIPTION
    c.direct.sql("""
        CREATE TABLE items (id int PRIMARY KEY, name text, data bytea);
        INSERT INTO items SELECT i, 'name ' || i, decode(md5(i::text), 'hex') FROM generate_series(1, 20000) i;
        CREATE VIEW some_items AS SELECT id, name FROM items WHERE id < 10;
        CREATE PUBLICATION all_items FOR TABLE items;
        SELECT lo_from_bytea(4711, 'a large object')""")


def dumps(s, c, folder):
    @s.scenario("pg_dump, plain: the same text as directly")
    def _():
        plain = [tool(c, "pg_dump", "--no-sync", endpoint=e) for e in (c.direct, c.proxy)]
        strip = [[li for li in text.splitlines() if not li.startswith(("\\restrict", "\\unrestrict"))] for text in plain]
        equal(strip[0] == strip[1] and len(strip[0]) > 20000, True, "the dumps are equal")

    @s.scenario("pg_dump -j 2 and pg_restore -j 2, directory format")
    def _():
        tool(c, "pg_dump", "-Fd", "-j", "2", "-b", "--exclude-schema=pgveneer", "--exclude-schema=hudi", "-f",
             folder / "dump", "--no-sync")
        tool(c, "pg_restore", "-j", "2", "-d", "copy", folder / "dump")
        equal(c.direct.sql(ROWS, dbname="copy"), c.direct.sql(ROWS))
        equal(c.direct.sql("SELECT convert_from(lo_get(4711), 'UTF8')", dbname="copy"), "a large object")

    @s.scenario("pg_dumpall --globals-only")
    def _():
        texts = [[li for li in tool(c, "pg_dumpall", "-g", "--no-sync", endpoint=e, user="postgres").splitlines()
                  if "restrict" not in li] for e in (c.direct, c.proxy)]
        equal(texts[0], texts[1])


def physical(s, c, folder):
    @s.scenario("pg_basebackup -X stream, and pg_verifybackup")
    def _():
        tool(c, "pg_basebackup", "-D", folder / "base", "-X", "stream", "-c", "fast", "--no-sync")
        tool(c, pg_bin("pg_verifybackup"), folder / "base")

    @s.scenario("pg_receivewal --slot")
    def _():
        wal = folder / "wal"
        wal.mkdir()
        tool(c, "pg_receivewal", "--create-slot", "--slot=wal", "-D", wal)
        process = start(c, "pg_receivewal", "--slot=wal", "-D", wal, "--no-loop", user="app")
        try:
            c.direct.sql("INSERT INTO items SELECT i, 'wal', NULL FROM generate_series(30001, 30100) i")
            c.direct.sql("SELECT pg_switch_wal()", user="postgres")
            wait_until(lambda: any(len(p.name) == 24 for p in wal.iterdir()), "a finished WAL segment")
        finally:
            stop(process)
        tool(c, "pg_receivewal", "--drop-slot", "--slot=wal", "-D", wal)


def logical(s, c, folder):
    @s.scenario("pg_recvlogical: create, start, drop")
    def _():
        out = folder / "changes"
        tool(c, "pg_recvlogical", "-d", "app", "--slot=changes", "--create-slot", "-P", "test_decoding")
        process = start(c, "pg_recvlogical", "-d", "app", "--slot=changes", "--start", "-f", out, "-s", "1",
                        "--no-loop", user="app")
        try:
            c.direct.sql("INSERT INTO items VALUES (40001, 'logical', NULL)")
            wait_until(lambda: out.exists() and "40001" in out.read_text(), "the change arrives")
        finally:
            stop(process)
        wait_until(lambda: c.direct.sql("SELECT active FROM pg_replication_slots WHERE slot_name = 'changes'") == "f",
                   "the slot is free")
        tool(c, "pg_recvlogical", "-d", "app", "--slot=changes", "--drop-slot")

    @s.scenario("logical subscription whose connection goes through pgveneer")
    def _():
        c.direct.sql("CREATE DATABASE subscriber OWNER app", user="postgres", dbname="postgres")
        c.direct.sql("CREATE TABLE items (id int PRIMARY KEY, name text, data bytea)", dbname="subscriber")
        c.direct.sql("SELECT pg_create_logical_replication_slot('sub', 'pgoutput')", user="postgres")
        c.direct.sql(f"CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port={c.proxy.port} user=app password=app "
                     "dbname=app' PUBLICATION all_items WITH (create_slot = false)", dbname="subscriber")
        same = lambda: c.direct.sql(ROWS, dbname="subscriber") == c.direct.sql(ROWS)  # noqa: E731
        wait_until(same, "the first copy")
        c.direct.sql("UPDATE items SET name = 'changed' WHERE id % 100 = 0; DELETE FROM items WHERE id % 1000 = 7")
        wait_until(same, "the changes")
        c.direct.sql("DROP SUBSCRIPTION sub", dbname="subscriber")

    @s.scenario("dblink-like use: a server connects to itself through pgveneer")
    def _():
        c.direct.sql("CREATE EXTENSION IF NOT EXISTS postgres_fdw", user="postgres")
        c.direct.sql(f"""
            CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw
                OPTIONS (host '127.0.0.1', port '{c.proxy.port}', dbname 'app', fetch_size '7');
            CREATE USER MAPPING FOR app SERVER loop OPTIONS (user 'app', password 'app');
            CREATE SCHEMA far; IMPORT FOREIGN SCHEMA public LIMIT TO (items) FROM SERVER loop INTO far""")
        equal(c.direct.sql(ROWS.replace("items", "far.items")), c.direct.sql(ROWS))
        c.direct.sql("BEGIN; UPDATE far.items SET name = 'far' WHERE id = 1; COMMIT")
        equal(c.direct.sql("SELECT name FROM items WHERE id = 1"), "far")


def run():
    """Number of failures."""
    s = Scenarios("tools")
    with Cluster(settings=SETTINGS, rounds=4096) as c:
        c.start_proxy("proxy")
        with tempfile.TemporaryDirectory(dir=c.folder) as folder:
            os.chmod(folder, 0o755)
            prepare(c)
            for group in (dumps, physical, logical):
                group(s, c, pathlib.Path(folder))
    s.finish()
    return s.failed
