"""Random tables, random actions, a write load of four sessions, random suspends and kills. At the end the table
has the rows and the definition that the same actions give on a copy that was written beside it.

Every writer changes the table and its twin in one transaction, so the twin is the ledger. After the rebuild the
actions are carried out on the twin by PostgreSQL's own ALTER TABLE.

    RUNS=500 SEED=7 python3 test_random.py      make soak-rebuild, which takes another seed each time
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Scenarios, equal  # noqa: E402
from engine import children, kill, phase  # noqa: E402
from rebuild import Rebuild  # noqa: E402

import psycopg2  # noqa: E402

RUNS, SEED, WRITERS = int(os.environ.get("RUNS", "3")), int(os.environ.get("SEED", "7")), 4
KILLS = os.environ.get("KILLS", "yes") == "yes"


class Table:
    """t and its twin m: key columns, value columns with an expression for random values, extras."""

    def __init__(self, rng, n):
        self.name, self.rng = f"t{n}", rng
        self.key = rng.choice([["id"], ["id"], ["id", "part"], ["part", "id"], ["code"]])
        self.values = {"a": ("int", "floor(random() * 1000)::int"), "b": ("text", "md5(random()::text)"),
                       "c": ("numeric(12,2)", "round((random() * 1000)::numeric, 2)"),
                       "d": ("varchar(40)", "left(md5(random()::text), 20)"),
                       "e": ("timestamptz", "now() - random() * interval '9 days'"),
                       "f": ("text", "repeat(md5(random()::text), (random() * 200)::int)"),  # out of line now and then
                       "g": ("jsonb", "jsonb_build_object('x', random())"), "h": ("int[]", "ARRAY[floor(random() * 9)::int]")}
        for column in rng.sample(sorted(self.values), rng.randint(0, 4)):
            del self.values[column]
        self.values.setdefault("a", ("int", "floor(random() * 1000)::int"))
        self.rows = rng.choice([200, 2000, 20000])

    def script(self):
        columns = ["id bigint NOT NULL", "part text NOT NULL", "code text NOT NULL", "gone int"]
        columns += [f"{c} {kind}" for c, (kind, _) in self.values.items()]
        text = ""
        for t in (self.name, self.twin()):
            text += f"CREATE TABLE {t} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self.key)}));ALTER TABLE {t} DROP gone;"
        text += (f"INSERT INTO {self.name} (id, part, code, {', '.join(self.values)}) SELECT i, 'p' || i % 5, 'c' || i, "
                 f"{', '.join(e for _, e in self.values.values())} FROM generate_series(1, {self.rows}) i;"
                 f"INSERT INTO {self.twin()} SELECT * FROM {self.name};")
        for t in (self.name, self.twin()):
            text += f"CREATE INDEX ON {t} (a); CREATE INDEX ON {t} (lower(code), a DESC) WHERE a > 5;"
            if self.rng_extra("check"):
                text += f"ALTER TABLE {t} ADD CONSTRAINT positive CHECK (a >= 0);"
            if self.rng_extra("unique"):
                text += f"CREATE UNIQUE INDEX ON {t} (code, id, part);"
        if self.rng_extra("view"):  # such a view refuses another type of a
            text += f"CREATE VIEW v_{self.name} AS SELECT id, a FROM {self.name}; CREATE VIEW w_{self.name} AS SELECT * FROM v_{self.name};"
        if self.rng_extra("parent"):
            text += (f"CREATE TABLE parent_{self.name} (code text PRIMARY KEY); INSERT INTO parent_{self.name} SELECT 'q' || i FROM "
                     f"generate_series(0, 9) i; ALTER TABLE {self.name} ADD COLUMN q text DEFAULT 'q1' REFERENCES parent_{self.name};"
                     f"ALTER TABLE {self.twin()} ADD COLUMN q text DEFAULT 'q1' REFERENCES parent_{self.name};")
        return text

    def rng_extra(self, what):
        return random.Random(f"{SEED} {self.name} {what}").random() < 0.4

    def twin(self):
        return "m_" + self.name

    def actions(self):
        """[(action, statements on the twin)]; no two on one column."""
        rng, chosen = self.rng, []
        pool = [("ADD COLUMN n1 int NOT NULL DEFAULT 7", None), ("ADD n2 text", None),
                ("ALTER COLUMN a SET DEFAULT 11", None), ("ALTER a SET NOT NULL", None),
                ("ALTER a TYPE bigint", None), ("ALTER COLUMN a SET DATA TYPE numeric USING a::numeric", None),
                ("SET (fillfactor = 70)", None), ("SET (fillfactor = 90)", None), ("SET (clustering_key = 'a')", ""),
                ("SET (orientation = 'column')", "")]
        if "d" in self.values:
            pool += [("ALTER d TYPE varchar(80)", None), ("ALTER d TYPE text", None)]
        if "c" in self.values:
            pool += [("ALTER c TYPE numeric(14,4)", None)]
        seen = set()
        for action, twin in rng.sample(pool, rng.randint(1, 4)):
            subject = next((c for c in ("n1", "n2", " d ", " c ", " a ", "SET (") if c in action), action)
            if subject in seen or subject == " a " and "TYPE" in action and self.rng_extra("view"):
                continue
            seen.add(subject)
            chosen.append((action, action if twin is None else twin))
        return chosen or [("SET (fillfactor = 75)", "SET (fillfactor = 75)")]


class Writer(threading.Thread):
    """One transaction after another on the table and its twin."""

    def __init__(self, r, table, number):
        super().__init__(daemon=True)
        self.r, self.table, self.number = r, table, number
        self.rng, self.ending, self.waits, self.done, self.error = random.Random(f"{SEED} {number}"), False, [], 0, None

    def transaction(self, cur, serial):
        """The same change of both; what is random is made once."""
        t, m, values = self.table.name, self.table.twin(), self.table.values
        columns, expressions = ", ".join(values), ", ".join(e for _, e in values.values())
        kind, id = self.rng.random(), self.rng.randint(1, self.table.rows)
        own = self.number * 10**9 + serial
        cur.execute("BEGIN")
        if kind < 0.55:
            cur.execute(f"UPDATE {t} SET ({columns}) = ROW({expressions}) WHERE id = %s RETURNING id, {columns}", (id,))
            for row in cur.fetchall():
                cur.execute(f"UPDATE {m} SET ({columns}) = (SELECT {columns} FROM {t} WHERE id = %s) WHERE id = %s", (row[0], row[0]))
        elif kind < 0.7:  # another key
            cur.execute(f"UPDATE {t} SET id = %s, code = 'k' || %s WHERE id = %s", (own, own, id))
            cur.execute(f"UPDATE {m} SET id = %s, code = 'k' || %s WHERE id = %s", (own, own, id))
        elif kind < 0.85:
            cur.execute(f"INSERT INTO {t} (id, part, code, {columns}) SELECT %s, 'p' || %s %% 5, 'n' || %s, {expressions}", (own, own, own))
            cur.execute(f"INSERT INTO {m} (id, part, code, {columns}) SELECT id, part, code, {columns} FROM {t} WHERE id = %s", (own,))
        else:
            cur.execute(f"DELETE FROM {t} WHERE id = %s", (id,))
            cur.execute(f"DELETE FROM {m} WHERE id = %s", (id,))
        cur.execute("ROLLBACK" if self.rng.random() < 0.05 else "COMMIT")

    def run(self):
        serial = 0
        try:
            conn = psycopg2.connect(host="127.0.0.1", port=self.r.cluster.postgres.port, user="app", password="app", dbname="app")
            conn.autocommit = True
            cur = conn.cursor()
            while not self.ending:
                serial += 1
                start = time.monotonic()
                self.transaction(cur, serial)
                self.waits.append((start, time.monotonic() - start))
                self.done += 1
                time.sleep(0.002)
        except psycopg2.Error as e:
            self.error = e


class Control(Writer):
    """Changes a table that nobody rebuilds: how long it waits, a busy machine makes everybody wait."""

    def transaction(self, cur, serial):
        cur.execute("UPDATE control SET n = n + 1")


def longest_wait(writers, control):
    """In seconds, without what the control waited at the same time."""
    slow = [(start, start + wait, wait) for start, wait in control.waits if wait > 0.05]
    return max(wait - max((w for begin, end, w in slow if begin < start + wait and end > start), default=0)
               for writer in writers for start, wait in writer.waits or [(0, 0.0)])


def kill_job(r):
    """kill -9 of whatever job process runs now; a worker takes its task up again."""
    for worker in children(r.pgveneer.process.pid):
        for job in children(worker):
            if (phase(job) or "").startswith("pgv:"):
                kill(job)
                return True
    return False


def disturb(r, id, rng, counts):
    """Suspends, resumes and kills at random moments until the task has ended."""
    deadline, kills, suspends = time.monotonic() + 120, 0, 0
    while True:
        state = r.state(id)
        if state == "done":
            return
        assert time.monotonic() < deadline, "does not end: " + r.describe(id)
        if state == "suspended" or state == "paused":
            failed = r.failed_step(id)
            assert failed is None or "CANCEL" in failed[1] or "canceled" in failed[1], r.describe(id)
            r.sql(f"RESUME '{id}'")
        time.sleep(rng.random() * 0.2)
        what = rng.random()
        if KILLS and what < 0.25 and kills < 2:  # three deaths in one run are a failure, which waits
            died = kill_job(r)
            kills, counts["kills"] = kills + died, counts["kills"] + died
        elif KILLS and what < 0.35 and suspends < 20:  # one a second without end would leave no time for the swap
            try:
                r.sql(f"SUSPEND '{id}'")
                suspends, counts["suspends"] = suspends + 1, counts["suspends"] + 1
            except Exception as e:  # it ended in between
                assert "55000" in str(e), e


def definition(r, table):
    """Columns, constraints and indexes, without the table's own name."""
    text = r.sql(f"""
        SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
            SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' ||
                   coalesce(pg_get_expr(adbin, adrelid), '') FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid
                   AND adnum = attnum WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
            UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                   WHERE conrelid = '{table}'::regclass AND contype <> 'n'
            UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{table}'::regclass
                   AND pg_get_indexdef(indexrelid) NOT LIKE '%clustering%'
            UNION ALL SELECT 'options ' || coalesce(reloptions::text, '') FROM pg_class WHERE oid = '{table}'::regclass) AS lines(line)""")
    parent = "parent_" + table.removeprefix("m_")
    return sorted(text.replace(parent, "PARENT").replace(table, "T").splitlines())


def one_run(r, n, counts):
    rng = random.Random(f"{SEED} {n}")
    table = Table(rng, n)
    r.sql(table.script())
    actions = table.actions()
    writers, control = [Writer(r, table, i + 1) for i in range(WRITERS)], Control(r, table, 0)
    for w in writers + [control]:
        w.start()
    statement = f"ASYNC REBUILD TABLE {table.name} " + ", ".join(a for a, _ in actions)
    before = r.sql(f"SELECT '{table.name}'::regclass::oid")
    try:
        id = r.submit(statement)
        disturb(r, id, rng, counts)
    finally:
        for w in writers + [control]:
            w.ending = True
        for w in writers + [control]:
            w.join(60)
    for w in writers + [control]:
        assert w.error is None, f"{statement}: a writer got {w.error}"
    for _, twin in actions:
        if twin:
            r.sql(f"ALTER TABLE {table.twin()} {twin}")
    for one, other in ((table.name, table.twin()), (table.twin(), table.name)):
        equal(r.sql(f"SELECT count(*) FROM (SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}) x"), "0",
              f"seed {SEED} run {n}: {statement}: rows of {one} that {other} lacks")
    clustered = any("clustering_key" in a for a, _ in actions)
    mine, twins = definition(r, table.name), definition(r, table.twin())
    if not clustered:
        equal(mine, twins, f"seed {SEED} run {n}: {statement}")
    copied = r.sql(f"SELECT '{table.name}'::regclass::oid") != before
    counts["copied" if copied else "in place"] += 1
    counts["transactions"] += sum(w.done for w in writers)
    waited = longest_wait(writers, control)
    assert waited < 1, f"seed {SEED} run {n}: {statement}: a writer waited {waited:.1f} s"
    counts["longest wait"] = max(counts["longest wait"], waited)
    equal(r.admin("SELECT count(*) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild%'"), "0", "left behind")
    r.sql(f"DROP TABLE {table.name}, {table.twin()} CASCADE")


def main():
    s = Scenarios("random rebuilds")
    counts = {"copied": 0, "in place": 0, "kills": 0, "suspends": 0, "transactions": 0, "longest wait": 0.0}
    print(f"seed {SEED}, {RUNS} runs", flush=True)
    with Rebuild(proxy={"task_slots": "2"}) as r:
        r.sql("CREATE TABLE control (n int); INSERT INTO control VALUES (0)")
        for n in range(RUNS):
            s.run(f"run {n}", one_run, r, n, counts)
        s.run("nothing failed behind a swap", lambda: equal([line for line in r.pgveneer.log_text().splitlines()
                                                             if " warning " in line and "DROP " in line], [], "log"))
    if RUNS >= 20:
        s.run("at least half were copied", lambda: equal(counts["copied"] >= counts["in place"], True, counts))
    counts["longest wait"] = f"{counts['longest wait'] * 1000:.0f} ms"
    print("random rebuilds: " + ", ".join(f"{v} {k}" for k, v in counts.items()))
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
