"""rebuild_guc_hg_rebuild_max_log_mb and _throttle_replica_lag_mb: a log that grows too large ends a rebuild that runs or is
suspended, and RESUME begins anew; a rebuild rests while a replica is far behind."""
import os
import sys

import psycopg2
import psycopg2.extras

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Scenarios, equal, wait_until  # noqa: E402
from rebuild import Rebuild  # noqa: E402
from session import Session  # noqa: E402

ROWS, WAIT_S = 60000, 120
TOLD = ("the log of changed rows is larger than 1 MB (rebuild_guc_hg_rebuild_max_log_mb): it is dropped with the triggers; "
        "RESUME copies the table again")


def make(r, table):
    r.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, a int, b text); CREATE INDEX ON {table} (a);"
          f"INSERT INTO {table} SELECT i, i, 'x' || i FROM generate_series(1, {ROWS}) i")


def left(r, id):
    """What the rebuild made and is still there."""
    return r.admin(f"SELECT string_agg(x, ' ' ORDER BY x) FROM (SELECT relname::text AS x FROM pg_class WHERE relname LIKE '%{id}%' "
                   f"UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE '%{id}%' UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE '%{id}%') x")


def gate(r):
    """USING stand(…) waits while public.closed has a row."""
    r.sql("CREATE TABLE closed (a int); CREATE FUNCTION stand(a int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN "
          "WHILE EXISTS (SELECT FROM public.closed) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN a; END $$")


def is_over(r, id, table):
    wait_until(lambda: r.state(id) == "suspended", f"{id} is stopped", WAIT_S)
    wait_until(lambda: left(r, id) == "", f"nothing is left of {id}", WAIT_S)
    equal(r.failed_step(id), ("get_src_table_snapshot", TOLD), "step")
    equal([s for s, status, _ in r.steps(id) if status == "done"], ["prepare"], "done")
    equal(r.admin(f"SELECT last_log FROM pgveneer.task WHERE task_id = '{id}'"), TOLD, "last_log")
    r.sql(f"UPDATE {table} SET b = 'later' WHERE id = 5; DELETE FROM {table} WHERE id = 6; INSERT INTO {table} VALUES (-1, -1, 'new')")


def goes_on(r, id, table):
    r.sql(f"RESUME '{id}'")
    r.wait_done(id, WAIT_S)
    equal(r.sql(f"SELECT count(*), sum(a), pg_typeof(min(a)), (SELECT b FROM {table} WHERE id = 5) FROM {table}"),
          f"{ROWS}|{sum(-i for i in range(1, ROWS + 1)) + 6 - 1}|bigint|later", "rows")
    equal(left(r, id), "", "left over")


def suspended(r):
    make(r, "l1")
    r.sql("INSERT INTO closed VALUES (1)")
    id = r.submit("ASYNC REBUILD TABLE l1 WITH (rebuild_guc_hg_rebuild_max_log_mb = 1) ALTER a TYPE bigint USING stand(a)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert", WAIT_S)
    r.sql(f"SUSPEND '{id}'")
    r.sql("UPDATE l1 SET a = -a")
    r.sql("DELETE FROM closed")
    is_over(r, id, "l1")
    goes_on(r, id, "l1")


def running(r):
    """Somebody reads the table all the time: the rebuild stops, the triggers go when he has gone, RESUME in between is fine."""
    make(r, "l2")
    r.sql("INSERT INTO closed VALUES (1)")
    id = r.submit("ASYNC REBUILD TABLE l2 WITH (rebuild_guc_hg_rebuild_max_log_mb = 1) ALTER a TYPE bigint USING stand(a)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert", WAIT_S)
    reader = Session(r.cluster.direct, user="app")
    reader.sql("BEGIN; SELECT count(*) FROM l2")
    r.sql("UPDATE l2 SET a = -a")
    wait_until(lambda: r.state(id) == "suspended", f"{id} is stopped", WAIT_S)
    equal(r.failed_step(id), ("get_src_table_snapshot", TOLD), "step")
    assert "tmp_rebuild_" in left(r, id), "the reader's lock was broken"
    reader.sql("COMMIT")
    is_over(r, id, "l2")
    r.sql("DELETE FROM closed")
    goes_on(r, id, "l2")
    reader.close()


def resumed_at_once(r):
    """RESUME before the triggers could be dropped: everything is copied anew all the same."""
    make(r, "l3")
    id = r.submit("ASYNC REBUILD TABLE l3 WITH (rebuild_guc_hg_rebuild_max_log_mb = 1) ALTER a TYPE bigint USING stand(a)")
    r.sql("INSERT INTO closed VALUES (1)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert", WAIT_S)
    reader = Session(r.cluster.direct, user="app")
    reader.sql("BEGIN; SELECT count(*) FROM l3")
    r.sql("UPDATE l3 SET a = -a; DELETE FROM l3 WHERE id = 6; INSERT INTO l3 VALUES (-1, -1, 'new'); UPDATE l3 SET b = 'later' WHERE id = 5")
    wait_until(lambda: r.state(id) == "suspended", f"{id} is stopped", WAIT_S)
    r.sql("DELETE FROM closed")
    r.sql(f"RESUME '{id}'")
    reader.sql("COMMIT")
    reader.close()
    r.wait_done(id, WAIT_S)
    equal(r.sql("SELECT count(*), sum(a), count(DISTINCT id) FROM l3"), f"{ROWS}|{sum(-i for i in range(1, ROWS + 1)) + 6 - 1}|{ROWS}", "rows")


def no_limit(r):
    make(r, "l4")
    r.sql("INSERT INTO closed VALUES (1)")
    id = r.submit("ASYNC REBUILD TABLE l4 WITH (rebuild_guc_hg_rebuild_max_log_mb = 0) ALTER a TYPE bigint USING stand(a)")
    wait_until(lambda: dict(x[:2] for x in r.steps(id))["insert"] == "doing", "insert", WAIT_S)
    r.sql("UPDATE l4 SET a = -a")
    r.admin("SELECT hologres.shed_logs()")
    equal(r.state(id), "active", "0 is no limit")
    r.sql("DELETE FROM closed")
    r.wait_done(id, WAIT_S)
    e = r.sql_error("ASYNC REBUILD TABLE l4 WITH (rebuild_guc_hg_rebuild_max_log_mb = 'much') SET (fillfactor = 70)")
    equal((e.sqlstate, "A number from 0 to 999999 is needed" in str(e)), ("22023", True), str(e))


def replicas(r):
    """A replica that answers, and stays where it is."""
    make(r, "l5")
    text = "ASYNC REBUILD TABLE l5 WITH (rebuild_guc_hg_rebuild_throttle_replica_lag_mb = 1) ALTER a TYPE bigint USING -a"
    e = r.sql_error(text)
    equal((e.sqlstate, "pg_monitor" in str(e)), ("42501", True), str(e))
    r.admin("GRANT pg_monitor TO service")
    conn = psycopg2.connect(host="127.0.0.1", port=r.cluster.postgres.port, user="postgres", password="postgres", application_name="slow one",
                            connection_factory=psycopg2.extras.PhysicalReplicationConnection)
    cur = conn.cursor()
    at = r.admin("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn")
    cur.start_replication(start_lsn=r.admin("SELECT pg_current_wal_flush_lsn()"))

    def answer(lsn):
        cur.send_feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)
    answer(int(at))
    wait_until(lambda: r.admin("SELECT replay_lsn IS NOT NULL FROM pg_stat_replication") == "t", "the replica has answered")
    r.sql("CREATE TABLE other AS SELECT repeat('x', 500) AS x FROM generate_series(1, 10000)")  # 5 MB that it does not read
    id = r.submit(text)

    def told():
        return [m for _, m in r.steps(id, "step, message") if m.startswith('waits for replica "slow one": it is ')]
    wait_until(told, "the rebuild waits", WAIT_S)
    equal(r.sql("SELECT pg_typeof(min(a)) FROM l5"), "integer", "not done")
    r.sql(f"SUSPEND '{id}'")
    r.sql(f"RESUME '{id}'")
    wait_until(told, "the rebuild waits again", WAIT_S)
    while (state := r.state(id)) != "done":
        equal(state, "active", r.describe(id))
        answer(int(r.admin("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")))
    conn.close()
    equal(r.sql("SELECT count(*), sum(a) FROM l5"), f"{ROWS}|{-ROWS * (ROWS + 1) // 2}", "rows")


TESTS = {"a suspended rebuild": suspended, "a running rebuild": running, "resumed at once": resumed_at_once, "no limit": no_limit, "replicas": replicas}


def main():
    s = Scenarios("limits of rebuilds")
    with Rebuild() as r:
        gate(r)
        for name, test in TESTS.items():
            if len(sys.argv) < 2 or name in sys.argv[1:]:
                s.run(name, test, r)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
