"""What hologres.rebuild_progress tells somebody who looks all the time: steps in their order, messages that change while
the rows are copied, the error of a duplicate key in exactly its step. Then what the vendor's clients ask afterwards:
hg_query_log, hg_list_logical_partition. ROWS in the environment: 1000000 for a large table."""
import os
import re
import sys
import threading

from cluster import Scenarios, equal
from rebuild import STEPS, Rebuild
from session import Session

ROWS = int(os.environ.get("ROWS", "60000"))
s = Scenarios("progress")


class Poller:
    """What a second session sees, each picture once, in order."""

    def __init__(self, r, id):
        self.r, self.id, self.pictures, self.stop = r, id, [], threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        session = Session(self.r.cluster.proxy, "app")
        while not self.stop.is_set():
            text = session.sql(f"SELECT step, coalesce(status, ''), progress, message FROM hologres.rebuild_progress('{self.id}')")
            picture = [tuple(line.split("|")) for line in text.split("\n")]
            if not self.pictures or picture != self.pictures[-1]:
                self.pictures.append(picture)
        session.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *why):
        self.stop.set()
        self.thread.join()

    def messages(self, step):
        return [m for picture in self.pictures for name, status, _, m in picture if name == step and status == "doing"]


def in_order(picture):
    """At most one step is under way; those before it that the rebuild needs are done, those behind it have not begun."""
    equal([x[0] for x in picture], STEPS, "names")
    now = [i for i, x in enumerate(picture) if x[1] == "doing"]
    assert len(now) <= 1, picture
    if now and STEPS[now[0]] in STEPS[:4]:
        equal([x for x in picture[:now[0]] if x[1] != "done" and x[2] != "-"], [], f"before {picture[now[0]]}")
        assert not any(x[1] for x in picture[now[0] + 1:]), picture


def make(r, table, more=""):
    r.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, v int NOT NULL, ds text NOT NULL, pad text); CREATE INDEX ON {table} (v); CREATE INDEX ON {table} (pad);"
          f"INSERT INTO {table} SELECT i, i, 'd' || i % 4, repeat('x', 60) || i FROM generate_series(1, {ROWS}) i {more}", timeout=300)


def changes(r):
    make(r, "p1")
    id = r.submit("ASYNC REBUILD TABLE p1 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) ALTER v TYPE bigint")
    with Poller(r, id) as p:
        r.wait_done(id, 300)
    for picture in p.pictures:
        in_order(picture)
    seen = {x[0] for picture in p.pictures for x in picture if x[1] == "doing"}
    assert "insert" in seen, seen
    copied = [int(m.group(1)) for m in (re.match(r"copied (\d+) of (\d+) slices", m) for m in p.messages("insert")) if m]
    assert copied == sorted(copied) and len(set(copied)) >= 3, copied
    assert any("index" in m for m in p.messages("insert")), p.messages("insert")
    last = [x[:3] for x in r.steps(id)]
    equal([x for x in last if x[1] != "done" and "additional" not in x[0]], [], "in the end")


def partitions(r):
    """n of m/n is the number of partitions."""
    make(r, "p2")
    for action, n in (("ALTER PRIMARY KEY (id, ds), TO LOGICAL PARTITION BY LIST (ds)", 4), ("SET (fillfactor = 90)", 4)):
        id = r.submit(f"ASYNC REBUILD TABLE p2 WITH (rebuild_guc_hg_rebuild_slice_mb = 1) {action}")
        with Poller(r, id) as p:
            r.wait_done(id, 300)
        shown = [x[2] for picture in p.pictures for x in picture if x[0] == "insert" and x[1] == "doing"]
        assert set(shown) <= {f"{m}/{n}" for m in range(n + 1)} and len(set(shown)) >= 2, shown
        equal([x for x in r.steps(id) if x[0] == "insert"], [("insert", "done", f"{n}/{n}")], action)


def duplicates(r):
    """In place and with a copy: the task stops in step insert, and nothing of the table has changed."""
    make(r, "p3", f"UNION ALL SELECT {ROWS} + 1, 7, 'd0', 'double'")
    for more in ("", ", SET (fillfactor = 90)"):
        id = r.submit(f"ASYNC REBUILD TABLE p3 ALTER PRIMARY KEY (v){more}")
        with Poller(r, id) as p:
            step, message = r.wait_error(id, 300)
        equal((step, "could not create unique index" in message, "(v)=(7)" in message), ("insert", True, True), message)
        for picture in p.pictures:
            in_order(picture)
        steps = r.steps(id)
        equal([x[0] for x in steps if x[1] == "error"], ["insert"], "steps in error")
        equal([x for x in steps[4:] if x[1]], [], "behind it")
        equal([x for x in steps[:3] if x[1] not in ("done", "")], [], "before it")
        r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}')")
        equal(r.sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'p3'::regclass AND contype = 'p'"), "PRIMARY KEY (id)", "key")


def query_log(r):
    """Ended rebuilds and their steps, by the ids that rebuild_progress shows, to those who may see the task."""
    r.sql("CREATE TABLE l1 (id int PRIMARY KEY, v text); INSERT INTO l1 VALUES (1, 'a'), (2, 'a')")
    statement = "ASYNC REBUILD TABLE l1 ALTER v TYPE varchar(5) USING v || '!'"
    good, bad = r.rebuild(statement), r.submit("ASYNC REBUILD TABLE l1 ALTER PRIMARY KEY (v)")
    r.wait_error(bad)
    equal(r.sql(f"SELECT usename, status, datname, command_tag, duration >= 0, message, query_date = to_char(query_start, 'YYYYMMDD'), query, table_write, "
                f"result_rows IS NULL, engine_type FROM hologres.hg_query_log WHERE query_id = '{good}'"),
          f"app|SUCCESS|app|ASYNC REBUILD TABLE|t||t|{statement}|public.l1|t|{{PostgreSQL}}", "a good one")
    equal(r.sql(f"SELECT status, message LIKE 'could not create unique index %(23505)%' FROM hologres.hg_query_log WHERE query_id = '{bad}'"), "FAILED|t", "a bad one")
    equal(r.sql(f"SELECT string_agg(p.step || ' ' || q.status, ', ' ORDER BY step_id) FROM hologres.rebuild_progress('{bad}') p JOIN hologres.hg_query_log q ON q.query_id = p.queryid"),
          "prepare SUCCESS, insert FAILED", "steps")
    equal(r.sql("SELECT count(*) FROM pg_attribute WHERE attrelid = 'hologres.hg_query_log'::regclass AND attnum > 0"), "39", "columns")
    r.admin("CREATE ROLE nobody LOGIN PASSWORD 'nobody'; GRANT CONNECT ON DATABASE app TO nobody")
    equal(r.sql("SELECT count(*) FROM hologres.hg_query_log", user="nobody"), "0", "others")


def logical_partitions(r):
    """Values that have rows, wherever these are."""
    r.sql("""CREATE TABLE lp (id int, ds text NOT NULL, r text NOT NULL, PRIMARY KEY (id, ds, r)); INSERT INTO lp SELECT i, 'd' || i % 2, 'r, ' || i % 3 FROM generate_series(1, 12) i;
        CREATE TABLE "Lp 1" (id int, ds date NOT NULL); INSERT INTO "Lp 1" VALUES (1, '2025-04-01'), (2, '2025-04-02')""")
    r.rebuild('ASYNC REBUILD TABLE "Lp 1" TO LOGICAL PARTITION BY LIST (ds)')
    r.rebuild("ASYNC REBUILD TABLE lp TO LOGICAL PARTITION BY LIST (ds, r)")
    r.sql("""INSERT INTO "Lp 1" VALUES (3, '2025-04-03'), (4, '2025-04-03'); DELETE FROM "Lp 1" WHERE id = 1; INSERT INTO lp VALUES (99, 'd0', 'new'), (98, 'd7', 'new')""")
    equal(r.sql("""SELECT string_agg(partition, ' ') FROM hologres.hg_list_logical_partition('public."Lp 1"')"""), "2025-04-02 2025-04-03", "one column")
    equal(r.sql("SELECT string_agg(partition, '; ') FROM hologres.hg_list_logical_partition('lp')"),
          "d0/new; d0/r, 0; d0/r, 1; d0/r, 2; d1/r, 0; d1/r, 1; d1/r, 2; d7/new", "two")
    r.admin("CREATE ROLE lp_reader LOGIN PASSWORD 'lp_reader'; GRANT CONNECT ON DATABASE app TO lp_reader; GRANT SELECT ON lp TO lp_reader")
    equal(r.sql("SELECT count(*) FROM hologres.hg_list_logical_partition('public.lp')", user="lp_reader"), "8", "by the table's grant")
    equal(r.sql_error("SELECT * FROM hologres.hg_list_logical_partition('\"Lp 1\"')", user="lp_reader").sqlstate, "42501", "without")
    equal(r.sql("SELECT count(*) FROM hologres.hg_logical_partitioned_table_properties"), "0", "properties")
    r.sql("ALTER TABLE lp_d0 SET (time_to_live_in_seconds = '100')")
    equal(r.sql("SELECT * FROM hologres.hg_logical_partitioned_table_properties"), "public|lp|d0|time_to_live_in_seconds|100", "one alone")
    r.sql("CREATE TABLE lp_plain (id int)")
    equal(r.sql_error("SELECT hologres.hg_list_logical_partition('lp_plain')").sqlstate, "42809", "not logical")
    equal(r.sql_error("SELECT hologres.hg_list_logical_partition('missing')").sqlstate, "42P01", "missing")


TESTS = {"hg_query_log": query_log, "hg_list_logical_partition": logical_partitions, "messages": changes, "partitions": partitions, "a duplicate key": duplicates}
with Rebuild() as r:
    for name, test in TESTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            s.run(name, test, r)
sys.exit(s.finish())
