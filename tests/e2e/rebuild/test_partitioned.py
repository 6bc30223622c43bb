"""Rebuilds of tables that are partitioned already: the same partitioning, another key, physical to logical, with
writers at work whose rows move between partitions; partitions that come and go during the task."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Scenarios, equal, wait_until  # noqa: E402
from rebuild import Rebuild  # noqa: E402

import psycopg2  # noqa: E402

SLOW = "ALTER v TYPE text USING coalesce(nullif(pg_sleep(0.0003)::text, ''), v)"


def tree(r, table):
    return r.sql(f"SELECT string_agg(relid::regclass || ' ' || pg_get_expr(relpartbound, oid), '; ' ORDER BY relid::regclass::text) "
                 f"FROM pg_partition_tree('{table}') JOIN pg_class ON oid = relid WHERE isleaf")


def indexes(r, table):
    return r.sql(f"SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM pg_partition_tree('{table}') "
                 "JOIN pg_index ON indrelid = relid")


def leftovers(r, id):
    return r.admin(f"""SELECT string_agg(x, ' ') FROM (
        SELECT relname::text AS x FROM pg_class WHERE relname LIKE '%{id}%' UNION ALL
        SELECT proname::text FROM pg_proc WHERE proname LIKE '%{id}%' UNION ALL
        SELECT tgname::text FROM pg_trigger WHERE tgname LIKE 'tmp\\_rebuild%' UNION ALL
        SELECT conname::text FROM pg_constraint WHERE conname LIKE '%{id}%') AS names""")


class Writers:
    """Sessions that write rows (id, v, ds) of a table with the key (id, ds), and note in a ledger, in the same
    transaction, what each id has now. ds is one of `values`: an update may move the row."""

    def __init__(self, r, table, values, sessions=3, keys=400):
        self.r, self.table, self.values, self.keys, self.sessions = r, table, values, keys, sessions
        self.stop, self.errors, self.count = threading.Event(), [], 0
        r.sql(f"CREATE TABLE {table}_ledger (id int PRIMARY KEY, v text, ds text)")
        r.sql(f"INSERT INTO {table}_ledger SELECT id, v, ds::text FROM {table}")
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(sessions)]

    def write(self, cur, rng, id, v):
        table, ds = self.table, rng.choice(self.values)
        kind = rng.random()
        if kind < 0.3:
            cur.execute(f"UPDATE {table} SET v = %s, ds = %s WHERE id = %s", (v, ds, id))
            cur.execute(f"UPDATE {table}_ledger SET v = %s, ds = %s WHERE id = %s", (v, ds, id))
        elif kind < 0.5:
            cur.execute(f"UPDATE {table} SET v = %s WHERE id = %s", (v, id))
            cur.execute(f"UPDATE {table}_ledger SET v = %s WHERE id = %s", (v, id))
        elif kind < 0.7:
            cur.execute(f"DELETE FROM {table} WHERE id = %s", (id,))
            cur.execute(f"DELETE FROM {table}_ledger WHERE id = %s", (id,))
        else:
            cur.execute(f"DELETE FROM {table} WHERE id = %s", (id,))
            cur.execute(f"INSERT INTO {table} (id, v, ds) VALUES (%s, %s, %s)", (id, v, ds))
            cur.execute(f"INSERT INTO {table}_ledger VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE "
                        "SET v = excluded.v, ds = excluded.ds", (id, v, ds))

    def work(self, number):
        rng = random.Random(number)
        conn = psycopg2.connect(host="127.0.0.1", port=self.r.cluster.proxy.port, user="app", password="app", dbname="app")
        cur = conn.cursor()
        while not self.stop.is_set():
            try:
                id = rng.randrange(1, self.keys) * self.sessions + number  # each session has keys of its own
                self.write(cur, rng, id, f"{number}.{self.count}")
                if rng.random() < 0.1:
                    conn.rollback()
                else:
                    conn.commit()
                    self.count += 1
            except psycopg2.Error as e:
                self.errors.append(str(e))
                conn.rollback()
            time.sleep(0.005)
        conn.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *why):
        self.stop.set()
        for t in self.threads:
            t.join()

    def check(self):
        equal(sorted(set(self.errors))[:3], [], "errors of clients")
        assert self.count > 20, self.count
        equal(self.r.sql(f"SELECT string_agg(x::text, ' ') FROM (SELECT t.id, t.v, l.v, t.ds, l.ds FROM {self.table} t FULL JOIN "
                         f"{self.table}_ledger l USING (id) WHERE (t.v, t.ds::text) IS DISTINCT FROM (l.v, l.ds) LIMIT 5) x"),
              "", "rows that differ from the ledger")
        equal(self.r.sql(f"SELECT count(*) = count(DISTINCT id) FROM {self.table}"), "t", "doubled rows")


def make(r, table, by="LIST (ds)", rows=3000):
    r.sql(f"CREATE TABLE {table} (id int, v text, ds text NOT NULL, n int DEFAULT 1, PRIMARY KEY (id, ds)) PARTITION BY {by}")
    r.sql(f"CREATE INDEX ON {table} (v)")


def fill(r, table, values, rows=3000):
    r.sql(f"INSERT INTO {table} (id, v, ds) SELECT i, 'v' || i, (ARRAY{values})[1 + i % {len(values)}] "
          f"FROM generate_series(1, {rows}) i")


def alike(r):
    """Children keep their names, bounds, indexes, comments and grants; LIST with several values and DEFAULT."""
    make(r, "a1")
    r.sql("""CREATE TABLE a1_ab PARTITION OF a1 FOR VALUES IN ('a', 'b') WITH (fillfactor = 70);
             CREATE TABLE "A1 c" PARTITION OF a1 FOR VALUES IN ('c') WITH (fillfactor = 70, autovacuum_enabled = off);
             CREATE TABLE a1_rest PARTITION OF a1 DEFAULT WITH (fillfactor = 70);
             COMMENT ON TABLE a1_ab IS 'two of them'; GRANT SELECT ON a1_ab TO PUBLIC""")
    fill(r, "a1", ["a", "b", "c", "d"])
    before = tree(r, "a1"), indexes(r, "a1"), r.sql("SELECT 'a1_ab'::regclass::oid")
    with Writers(r, "a1", ["a", "b", "c", "d", "e"]) as w:
        told = r.notices(f"ASYNC REBUILD TABLE a1 ADD w double precision DEFAULT random(), ALTER n TYPE bigint, {SLOW}")
        assert "ERROR" not in told, told
        id = r.admin("SELECT max(task_id) FROM pgveneer.task")
        r.wait_done(id)
    w.check()
    assert 'partition public."A1 c" will not keep what it has alone: autovacuum_enabled=off' in told, told
    equal((tree(r, "a1"), indexes(r, "a1")), before[:2], "names")
    assert r.sql("SELECT 'a1_ab'::regclass::oid") != before[2], "not copied"
    equal(r.sql("SELECT obj_description('a1_ab'::regclass), has_table_privilege('public', 'a1_ab', 'SELECT'),"
                "has_table_privilege('public', 'a1_rest', 'SELECT')"), "two of them|t|f", "comment and grant")
    equal(r.sql("SELECT string_agg(DISTINCT reloptions::text, ' ') FROM pg_partition_tree('a1') JOIN pg_class ON oid = relid"),
          "{fillfactor=70}", "common options")
    equal(r.sql("SELECT count(*) = count(w), pg_typeof(min(n)) FROM a1"), "t|bigint", "actions")
    equal(leftovers(r, id), "", "left over")
    equal([x for x in r.steps(id) if x[1] != "done"],
          [(f"{x}_additional_child_table", "", "-") for x in ("create", "insert")], "steps")


TESTS = {"alike": alike}


def main():
    s = Scenarios("partitioned")
    with Rebuild() as r:
        for name, test in TESTS.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                s.run(name, test, r)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
