"""Every statement of the vendor's page "Synchronizing Hudi Tasks", through pgveneer with a worker behind
it: as printed from psql, with bound parameters from psycopg 3 (text, binary, prepared, pipelined) and
psycopg2. A Hudi table is really synchronised. test_jdbc.py does the same with pgjdbc."""
import contextlib
import datetime
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
from seed import FIRST_IDS, Seed  # noqa: E402
from cluster import Scenarios, SqlError, equal, wait_until  # noqa: E402

try:
    import psycopg
    import psycopg2
except ImportError:  # a python3 of the user's own in front of the system's, which has the packages
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

TARGET, SOURCE, CDL = "public.in_rel", "public.hudi_read1", "public.in_cdl"
SHOW_COLUMNS = ["task_id", "what", "category_id", "userid", "is_broken", "interval", "time_cons", "start_time",
                "end_time", "parameter", "task_rank", "next_start_time", "next_end_time", "last_log",
                "failure_times"]
HISTORY_COLUMNS = ["task_id", "target_tbl", "source_ftbl", "latest_commit", "latest_sync_count",
                   "latest_sync_start", "latest_sync_end", "hudi_flushdisk_time"]
STATE_COLUMNS = ["target_tbl", "source_ftbl", "payload_type", "precombine_key", "latest_commit"]


class Asks:
    """One way to ask: text with %s, parameters, to (column names, rows)."""

    def __init__(self, run, error, repeats=1):
        self.run, self.error, self.repeats = run, error, repeats

    def rows(self, text, *params):
        return self.run(text, params)[1]

    def one(self, text, *params):
        names, rows = self.run(text, params)
        equal((len(rows), len(rows[0])), (1, 1), f"rows and columns of {text}")
        equal(names[0], text.split("(")[0].split(" ")[-1].split(".")[-1], "name of the result column")
        return rows[0][0]

    def sqlstate(self, text, *params):
        try:
            self.run(text, params)
        except self.error as e:
            return getattr(e, "sqlstate", None) or getattr(e, "pgcode", None)
        raise AssertionError(f"no error from {text}")


def psql_asks(s):
    """Literals in the statement, as on the page."""
    def run(text, params):
        for p in params:
            text = text.replace("%s", "'" + str(p).replace("'", "''") + "'", 1)
        out = s.cluster.proxy.psql("-q", "-A", "-P", "footer=off", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
                                   stdin=text)
        if out.returncode != 0:
            raise SqlError(out.stderr)
        lines = out.stdout.splitlines()
        return lines[0].split("|"), [tuple(v or None for v in line.split("|")) for line in lines[1:]]
    return Asks(run, SqlError)


def psycopg3_asks(s, stack, binary=False, **options):
    conn = stack.enter_context(psycopg.connect(s.cluster.proxy.dsn(), autocommit=True, **options))

    def run(text, params):
        cur = conn.execute(text, params, binary=binary)
        return [c.name for c in cur.description], cur.fetchall()
    return Asks(run, psycopg.Error, repeats=7)  # past the threshold for preparing


def psycopg2_asks(s, stack):
    conn = stack.enter_context(contextlib.closing(psycopg2.connect(s.cluster.proxy.dsn())))
    conn.autocommit = True

    def run(text, params):
        cur = conn.cursor()
        cur.execute(text, params)
        return [c[0] for c in cur.description], cur.fetchall()
    return Asks(run, psycopg2.Error)


def create_once(s, q):
    q.one("SELECT pg_catalog.create_hudi_sync_table()")
    equal(q.sqlstate("SELECT create_hudi_sync_table()"), "42P07", "a second call")


def creation(s, q):
    """Paragraph "Creation", then all the others, on one task."""
    s.cluster.direct.sql("TRUNCATE public.in_rel")
    q.rows("SELECT hudi_set_sync_commit(%s, %s, %s)", TARGET, SOURCE, "")
    before = s.ids("in_cdl").count(",")
    task = q.one("SELECT hudi_sync_task_submit(%s, %s)", TARGET, SOURCE)
    s.wait_for("in_rel", s.all_ids)
    names, rows = q.run("SELECT * FROM pg_task_show(%s)", ("SQLonHudi",))
    equal(names, SHOW_COLUMNS, "columns of pg_task_show")
    equal([r[0] for r in rows], [task], "task_id")
    equal(str(q.one("SELECT pg_task_reset_interval(%s, %s)", task, "5 seconds")), "1")
    equal(str(q.one("SELECT pg_task_pause(%s)", task)), "1")
    wait_until(lambda: q.rows("SELECT next_start_time, last_log FROM pg_task_show(%s) WHERE task_id = %s",
                              "SQLonHudi", task) == [(None, "paused")], "the task is paused")
    second = s.commit_next()
    equal(str(q.one("SELECT pg_task_resume(%s)", task)), "1")
    s.wait_for("in_rel", s.all_ids)
    names, rows = q.run("SELECT * FROM pg_catalog.hudi_sync_state_history_view WHERE task_id = %s "
                        "ORDER BY latest_sync_start", (task,))
    equal(names, HISTORY_COLUMNS, "columns of the history")
    equal([(r[1], r[2], str(r[4])) for r in rows],
          [(TARGET, SOURCE, str(s.all_ids.count(","))), (TARGET, SOURCE, "1")], "history")
    equal(rows[1][3], second, "latest_commit")
    names, rows = q.run("SELECT * FROM hudi_show_sync_state()", ())
    equal(names, STATE_COLUMNS, "columns of hudi_show_sync_state")
    equal([(r[0], r[1], r[4]) for r in rows if r[0] == TARGET], [(TARGET, SOURCE, second)], "state")
    equal(str(q.one("SELECT pg_task_remove(%s)", task)), "1")
    equal(q.rows("SELECT * FROM pg_task_show(%s)", "SQLonHudi"), [], "after pg_task_remove")
    equal(s.ids("in_cdl").count(","), before, "the other table")


def migration(s, q):
    """Paragraph "Migration": rows that CDL has brought stay, what came later is added."""
    s.cluster.direct.sql("TRUNCATE public.in_cdl; INSERT INTO public.in_cdl SELECT i, 'from CDL' FROM generate_series(1, 5) i")
    equal(q.one("SELECT hudi_set_sync_commit(%s, %s, %s)", CDL, SOURCE, s.first_commit), s.first_commit)
    task = q.one("SELECT hudi_sync_task_submit(%s, %s)", CDL, SOURCE)
    s.wait_for("in_cdl", s.all_ids)
    equal(s.cluster.direct.sql("SELECT count(*) FROM public.in_cdl WHERE name = 'from CDL'"), "5", "rows of CDL")
    q.one("SELECT pg_task_pause(%s)", task)
    equal(q.one("SELECT hudi_set_sync_commit(%s, %s)", task, s.first_commit), s.first_commit)
    q.one("SELECT pg_task_resume(%s)", task)
    equal(str(q.one("SELECT pg_task_remove(%s)", task)), "1")


def overloads(s, q):
    for text, params in [
            ("SELECT hudi_sync_task_submit(%s, %s, %s)", (TARGET, SOURCE, "1 hour")),
            ("SELECT hudi_sync_task_submit(%s, %s, %s, %s)", (TARGET, SOURCE, "id, name", 'id, "name"')),
            ("SELECT hudi_sync_task_submit(%s, %s, %s, %s, %s)", (TARGET, SOURCE, "id, name", "id, name", "1 hour")),
            ("SELECT pg_catalog.hudi_sync_task_submit(%s::regclass, %s::regclass, %s::interval)",
             (TARGET, SOURCE, "01:00:00"))]:
        task = q.one(text, *params)
        equal(str(q.one("SELECT pg_task_remove(%s)", task)), "1", text)


def refusals(s, q):
    equal(q.sqlstate("SELECT pg_task_pause(%s)", "64479410-a04c-0700-d150-3037d700fffe"), "42704")
    equal(q.sqlstate("SELECT pg_task_resume(%s)", "task_id"), "42704")
    equal(q.sqlstate("SELECT pg_task_remove(%s)", "x'y"), "42704")
    equal(q.sqlstate("SELECT hudi_sync_task_submit(%s, %s)", "public.missing", SOURCE), "42P01")
    equal(q.sqlstate("SELECT hudi_sync_task_submit(%s, %s, %s)", TARGET, SOURCE, "1 second"), "22023")
    equal(q.rows("SELECT 'alive' AS word"), [("alive",)])


def reading(s, q):
    """The foreign table in queries, and functions that look into the store."""
    rows = s.all_ids.count(",") + 1
    for _ in range(q.repeats):
        equal([str(v) for r in q.rows("SELECT count(*), min(name) FROM hudi_read1 WHERE id > %s", "0") for v in r],
              [str(rows), "row 1"])
    newest = q.rows("SELECT max_commit FROM hudi_get_max_commit(%s)", SOURCE)[0][0]
    s.cluster.direct.sql("TRUNCATE public.in_rel")
    q.rows("SELECT hudi_set_sync_commit(%s, %s, %s)", TARGET, SOURCE, "")
    equal(q.one("SELECT hudi_sync(%s, %s)", TARGET, SOURCE), f"sync {rows} rows up to {newest}.")
    equal(q.run("CALL hudi_sync(%s, %s)", (TARGET, SOURCE)), (["hudi_sync"], [(f"sync 0 rows up to {newest}.",)]))


def whole_page(s, scenarios, title, q):
    scenarios.run(f"{title}: creation, query, suspend, resume, history, delete", creation, s, q)
    scenarios.run(f"{title}: migration", migration, s, q)
    scenarios.run(f"{title}: SELECT on the foreign table, functions", reading, s, q)
    scenarios.run(f"{title}: all forms of submit", overloads, s, q)
    scenarios.run(f"{title}: errors, and the session goes on", refusals, s, q)


def psycopg3_prepared(s):
    with psycopg.connect(s.cluster.proxy.dsn(), autocommit=True, prepare_threshold=2) as conn:
        task = conn.execute("SELECT hudi_sync_task_submit(%s, %s)", (TARGET, SOURCE)).fetchone()[0]
        for binary in (False, True):
            for _ in range(8):
                cur = conn.execute("SELECT task_id, failure_times FROM pg_task_show(%s) WHERE task_id = %s",
                                   ("SQLonHudi", task), binary=binary)
                equal(cur.fetchall(), [(task, 0)])
        for i in range(8):
            verb = "pause" if i % 2 == 0 else "resume"
            equal(conn.execute(f"SELECT pg_task_{verb}(%s)", (task,)).fetchone(), (1,))
        conn.execute("SELECT pg_task_remove(%s)", (task,))


def psycopg3_pipeline(s):
    with psycopg.connect(s.cluster.proxy.dsn(), autocommit=True) as conn:
        with conn.pipeline():
            with conn.transaction():
                a = conn.execute("SELECT 'before'")
                b = conn.execute("SELECT hudi_sync_task_submit(%s, %s)", (TARGET, SOURCE))
                c = conn.execute("SELECT count(*) FROM pg_task_show(%s)", ("SQLonHudi",))
                d = conn.execute("SELECT 'after'")
            equal([a.fetchone(), c.fetchone(), d.fetchone()], [("before",), (1,), ("after",)])
        task = b.fetchone()[0]
        try:
            with conn.pipeline():
                conn.execute("SELECT pg_task_pause(%s)", (task,))
                conn.execute("SELECT pg_task_pause('missing')")
                conn.execute("SELECT pg_task_remove(%s)", (task,))
            raise AssertionError("no error in the pipeline")
        except psycopg.errors.UndefinedObject:
            pass
        row = conn.execute("SELECT last_log FROM pg_task_show('SQLonHudi')").fetchone()
        equal(row is not None and row != ("paused",), True, "the pipeline was rolled back")
        conn.execute("SELECT pg_task_remove(%s)", (task,))


def psycopg3_cursors_and_copy(s):
    with psycopg.connect(s.cluster.proxy.dsn()) as conn:
        task = conn.execute("SELECT hudi_sync_task_submit(%s, %s)", (TARGET, SOURCE)).fetchone()[0]
        with conn.cursor("named") as cur:
            cur.execute("SELECT task_id FROM pg_task_show(%s)", ("SQLonHudi",))
            equal(cur.fetchall(), [(task,)])
        with conn.cursor("foreign") as cur:
            cur.itersize = 2
            cur.execute("SELECT id FROM hudi_read1 ORDER BY id")
            equal(",".join(str(r[0]) for r in cur), s.all_ids)
        with conn.cursor("history") as cur:
            cur.execute("SELECT * FROM hudi_sync_state_history_view h JOIN generate_series(1, 2) ON true")
            equal([c.name for c in cur.description], HISTORY_COLUMNS + ["generate_series"])
        with conn.cursor() as cur, cur.copy("COPY (SELECT task_id FROM pg_task_show('SQLonHudi')) TO STDOUT") as out:
            equal(b"".join(bytes(b) for b in out), task.encode() + b"\n")
        conn.rollback()
        equal(conn.execute("SELECT count(*) FROM pg_task_show('SQLonHudi')").fetchone(), (0,), "after ROLLBACK")


def transactions(s):
    with psycopg.connect(s.cluster.proxy.dsn()) as conn:
        with conn.transaction():
            first = conn.execute("SELECT hudi_sync_task_submit(%s, %s)", (TARGET, SOURCE)).fetchone()[0]
            try:
                with conn.transaction():
                    conn.execute("SELECT hudi_sync_task_submit(%s, %s)", (TARGET, SOURCE))
            except psycopg.errors.DuplicateObject as e:
                equal(first in str(e), True, "the error names the task")
            conn.execute("SELECT pg_task_reset_interval(%s, %s)", (first, datetime.timedelta(hours=2)))
        equal(conn.execute("SELECT \"interval\" FROM pg_task_show('SQLonHudi')").fetchone(), ("'02:00:00'",))
        conn.execute("SELECT pg_task_remove(%s)", (first,))


class Growing(Seed):
    """A Seed that knows all ids of its Hudi table."""

    def __enter__(self):
        super().__enter__()
        self.all_ids = FIRST_IDS
        return self

    def commit_next(self):
        new = str(self.all_ids.count(",") + 2)
        instant = self.commit(new)
        self.all_ids += "," + new
        return instant


def main():
    scenarios = Scenarios("seed")
    with Growing() as s, contextlib.ExitStack() as stack:
        q = psql_asks(s)
        scenarios.run("psql: create_hudi_sync_table", create_once, s, q)
        whole_page(s, scenarios, "psql", q)
        whole_page(s, scenarios, "psycopg 3", psycopg3_asks(s, stack))
        whole_page(s, scenarios, "psycopg 3, prepared at once, binary",
                   psycopg3_asks(s, stack, binary=True, prepare_threshold=0))
        whole_page(s, scenarios, "psycopg2", psycopg2_asks(s, stack))
        scenarios.run("psycopg 3: prepared past the threshold", psycopg3_prepared, s)
        scenarios.run("psycopg 3: pipeline", psycopg3_pipeline, s)
        scenarios.run("psycopg 3: cursors, COPY, rollback", psycopg3_cursors_and_copy, s)
        scenarios.run("psycopg 3: transactions", transactions, s)
    return scenarios.finish()


if __name__ == "__main__":
    sys.exit(main())
