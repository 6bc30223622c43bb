"""Random tables, plain and partitioned, random actions, a write load of four sessions, random suspends and kills. At the
end the table has the rows and the definition that the same actions give on a copy that was written beside it, and
nobody waited for more than a second for a rebuild that waited itself.

Every writer changes the table and its twin in one transaction, so the twin is the ledger. After the rebuild the
actions are carried out on the twin by PostgreSQL's own ALTER TABLE.

    RUNS=500 SEED=7 python3 test_random.py      make soak-rebuild, which takes another seed each time
    FIRST=123 RUNS=1                            run 123 again
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

RUNS, SEED, FIRST, WRITERS = (int(os.environ.get(n, v)) for n, v in (("RUNS", "4"), ("SEED", "7"), ("FIRST", "0"), ("WRITERS", "4")))
KILLS = os.environ.get("KILLS", "yes") == "yes"
PARTS = 5    # values of the column part that every table has, from rows that stay
NEW_PARTS = 8  # where other values find a place

PARTITIONINGS = {  # by what, keys that contain it, partitions ({t}: the table, {third}: a third of the rows)
    "range": ("RANGE (id)", ["id", "id part", "code id"],
              ["{t}_low PARTITION OF {t} FOR VALUES FROM (MINVALUE) TO ({third})",
               "{t}_high PARTITION OF {t} FOR VALUES FROM ({third}) TO (2000000000)"]),
    "list": ("LIST (part)", ["id part", "part id", "part code"],
             ["{t}_two PARTITION OF {t} FOR VALUES IN ('p0', 'p1')", "{t}_p2 PARTITION OF {t} FOR VALUES IN ('p2')"]),
    "hash": ("HASH (code)", ["code", "id code", "part code"],
             [f"{{t}}_h{i} PARTITION OF {{t}} FOR VALUES WITH (MODULUS 3, REMAINDER {i})" for i in range(3)]),
    "list of hash": ("LIST (part)", ["id part", "part id"],
                     ["{t}_two PARTITION OF {t} FOR VALUES IN ('p0', 'p1') PARTITION BY HASH (id)"]
                     + [f"{{t}}_two{i} PARTITION OF {{t}}_two FOR VALUES WITH (MODULUS 2, REMAINDER {i})" for i in range(2)]),
    "range of list": ("RANGE (id)", ["id part", "part id"],
                      ["{t}_low PARTITION OF {t} FOR VALUES FROM (MINVALUE) TO ({third}) PARTITION BY LIST (part)",
                       "{t}_low_p1 PARTITION OF {t}_low FOR VALUES IN ('p1', 'p2')", "{t}_low_rest PARTITION OF {t}_low DEFAULT"])}


class Table:
    """t and its twin m: key columns, value columns with an expression for random values, extras."""

    def __init__(self, rng, n):
        self.name, self.rng = f"t{n}", rng
        self.kind = rng.choice(["plain"] * 5 + sorted(PARTITIONINGS))
        self.key = rng.choice(["id", "id", "id part", "part id", "code"] if self.kind == "plain" else PARTITIONINGS[self.kind][1]).split()
        self.target = self.choose_target()
        # a copy that is divided by values and is not LOGICAL refuses others once it is the table
        self.parts = NEW_PARTS if self.target is None or "LOGICAL" in self.target else PARTS
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

    def choose_target(self):
        """The partitioning that it shall get; None: as it is."""
        if "part" not in self.key or self.rng.random() < 0.5:
            return None
        ways = ["TO PARTITION BY LIST (part)", "TO LOGICAL PARTITION BY LIST (part)"]
        return self.rng.choice(ways + ["TO LOGICAL PARTITION", "TO PARTITION"] * (self.kind == "list"))

    def partitions(self):
        by, _, parts = PARTITIONINGS[self.kind]
        text = "".join(f"CREATE TABLE {p};" for p in parts).format(t=self.name, third=self.rows // 3)
        return text if by.startswith("HASH") else text + f"CREATE TABLE {self.name}_rest PARTITION OF {self.name} DEFAULT;"

    def script(self):
        columns = ["id bigint NOT NULL", "part text NOT NULL", "code text NOT NULL", "gone int"]
        columns += [f"{c} {kind}" for c, (kind, _) in self.values.items()]
        text = ""
        for t in (self.name, self.twin()):
            by = f"PARTITION BY {PARTITIONINGS[self.kind][0]}" if t == self.name and self.kind != "plain" else ""
            text += f"CREATE TABLE {t} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self.key)})) {by};ALTER TABLE {t} DROP gone;"
        if self.kind != "plain":
            text += self.partitions()
        # nobody touches those below 1: each value of part is there all the time
        text += (f"INSERT INTO {self.name} (id, part, code, {', '.join(self.values)}) SELECT i, 'p' || abs(i) % {PARTS}, 'c' || i, "
                 f"{', '.join(e for _, e in self.values.values())} FROM generate_series({1 - PARTS}, {self.rows}) i;"
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
        if self.target is not None:
            return chosen + [(self.target, "")]
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
        kind, id, part = self.rng.random(), self.rng.randint(1, self.table.rows), f"p{self.rng.randrange(self.table.parts)}"
        own = self.number * 10**9 + serial
        cur.execute("BEGIN")
        if kind < 0.55:
            cur.execute(f"UPDATE {t} SET ({columns}) = ROW({expressions}) WHERE id = %s RETURNING id, {columns}", (id,))
            for row in cur.fetchall():
                cur.execute(f"UPDATE {m} SET ({columns}) = (SELECT {columns} FROM {t} WHERE id = %s) WHERE id = %s", (row[0], row[0]))
        elif kind < 0.6:  # another partition, perhaps
            cur.execute(f"UPDATE {t} SET part = %s WHERE id = %s", (part, id))
            cur.execute(f"UPDATE {m} SET part = %s WHERE id = %s", (part, id))
        elif kind < 0.7:  # another key
            cur.execute(f"UPDATE {t} SET id = %s, code = 'k' || %s WHERE id = %s", (own, own, id))
            cur.execute(f"UPDATE {m} SET id = %s, code = 'k' || %s WHERE id = %s", (own, own, id))
        elif kind < 0.85:
            cur.execute(f"INSERT INTO {t} (id, part, code, {columns}) SELECT %s, %s, 'n' || %s, {expressions}", (own, part, own))
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
                try:
                    self.transaction(cur, serial)
                except psycopg2.errors.SerializationFailure as e:
                    if "moved to another partition" not in str(e):
                        raise
                    cur.execute("ROLLBACK")
                self.waits.append((start, time.monotonic() - start))
                self.done += 1
                time.sleep(0.01)
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


class Watch(threading.Thread):
    """Looks who waits for a rebuild. A wait counts where the rebuild's server process waits itself, for another lock or
    for its client, in every look of a second: one that works may be slow because the machine is."""

    def __init__(self, r):
        super().__init__(daemon=True)
        self.conn = psycopg2.connect(host="127.0.0.1", port=r.cluster.postgres.port, user="postgres", password="postgres", dbname="app")
        self.conn.autocommit = True
        self.ending, self.long, self.looks = False, [], 0

    def run(self):
        cur, since = self.conn.cursor(), {}
        while not self.ending:
            cur.execute("""SELECT w.pid, w.query_start::text, b.query, b.wait_event_type || ' ' || b.wait_event, clock_timestamp()::text
                             FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) p JOIN pg_stat_activity b ON b.pid = p
                            WHERE w.usename = 'app' AND w.wait_event_type = 'Lock' AND b.application_name LIKE 'pgveneer job%'
                              AND b.wait_event_type IN ('Lock', 'Client')""")
            found = {row[:2]: row[2:] for row in cur.fetchall()}
            since = {who: (since.get(who, (time.monotonic(), 0))[0], since.get(who, (0, 0))[1] + 1) for who in found}
            for who, (start, looks) in since.items():
                if time.monotonic() - start > 1 and looks > 5:
                    self.long.append((found[who], time.monotonic() - start))
            self.looks += 1
            time.sleep(0.05)
        self.conn.close()


def kill_job(r, rng):
    """kill -9 of whatever job process runs now, or of the worker; a worker takes its task up again. True where a job
    died: three such deaths in one run are a failure."""
    for worker in children(r.pgveneer.process.pid):
        for job in children(worker):
            if (phase(job) or "").startswith("pgv:"):
                kill(job if rng.random() < 0.95 else worker)  # a worker that dies often starts later and later
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
            died = kill_job(r, rng)
            kills, counts["kills"] = kills + died, counts["kills"] + died
        elif KILLS and what < 0.35 and suspends < 8:
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
            UNION ALL SELECT DISTINCT 'options ' || coalesce(reloptions::text, '') FROM pg_class WHERE relkind = 'r' AND
                   (oid = '{table}'::regclass OR oid IN (SELECT relid FROM pg_partition_tree('{table}')))) AS lines(line)""")
    parent = "parent_" + table.removeprefix("m_")
    return sorted(text.replace(parent, "PARENT").replace(table, "T").replace(" ON ONLY ", " ON ").splitlines())


def tree(r, table):
    """Each partition of any level with its bound and how it is divided itself."""
    return r.sql(f"""SELECT string_agg(concat_ws(' ', t.relid::regclass, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid)),
                                       E'\n' ORDER BY t.relid::regclass::text)
                       FROM pg_partition_tree('{table}') t JOIN pg_class c ON c.oid = t.relid""").splitlines()


def check_partitions(r, table, before, what):
    """As before, or as the action says: each value of part that is always there has a partition of its own."""
    if table.target is None:
        return equal(tree(r, table.name), before, what)
    equal(r.sql(f"SELECT pg_get_partkeydef('{table.name}'::regclass)"), "LIST (part)", what)
    bounds = r.sql(f"SELECT string_agg(pg_get_expr(relpartbound, oid), ' ' ORDER BY pg_get_expr(relpartbound, oid)) "
                   f"FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = '{table.name}'::regclass")
    logical = bounds.startswith("DEFAULT ")
    equal(logical, "LOGICAL" in table.target, f"{what}: {bounds}")
    own = bounds.removeprefix("DEFAULT ").replace("FOR VALUES IN ", "").split()
    equal([f"('p{i}')" in own for i in range(PARTS)], [True] * PARTS, f"{what}: {bounds}")
    return equal([x for x in own if x not in [f"('p{i}')" for i in range(table.parts)]], [], f"{what}: {bounds}")


def one_run(r, n, counts):
    watch = Watch(r)
    watch.start()
    try:
        rebuild_once(r, n, counts)
    finally:
        watch.ending = True
        watch.join(30)
    equal(watch.long[:1], [], f"seed {SEED} run {n}: a writer waited for a rebuild that waited")


def rebuild_once(r, n, counts):
    rng = random.Random(f"{SEED} {n}")
    table = Table(rng, n)
    r.sql(table.script())
    actions, before_tree = table.actions(), tree(r, table.name)
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
    check_partitions(r, table, before_tree, f"seed {SEED} run {n}: {table.kind}: {statement}")
    copied = r.sql(f"SELECT '{table.name}'::regclass::oid") != before
    counts["copied" if copied else "in place"] += 1
    counts[table.kind] = counts.get(table.kind, 0) + 1
    counts["partitioned anew"] += table.target is not None
    counts["transactions"] += sum(w.done for w in writers)
    counts["longest wait"] = max(counts["longest wait"], longest_wait(writers, control))
    equal(r.admin("SELECT count(*) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild%'"), "0", "left behind")
    r.sql(f"DROP TABLE {table.name}, {table.twin()} CASCADE")


def main():
    s = Scenarios("random rebuilds")
    counts = {"copied": 0, "in place": 0, "partitioned anew": 0, "kills": 0, "suspends": 0, "transactions": 0, "longest wait": 0.0}
    print(f"seed {SEED}, {RUNS} runs from {FIRST} on", flush=True)
    with Rebuild(proxy={"task_slots": "2"}) as r:
        r.sql("CREATE TABLE control (n int); INSERT INTO control VALUES (0)")
        for n in range(FIRST, FIRST + RUNS):
            s.run(f"run {n}", one_run, r, n, counts)
        s.run("nothing failed behind a swap", lambda: equal([
            line for line in r.pgveneer.log_text().splitlines()
            if " warning " in line and "DROP " in line and "lease of the task was lost" not in line], [], "log"))
    if RUNS >= 20:
        s.run("at least half were copied", lambda: equal(counts["copied"] >= counts["in place"], True, counts))
    counts["longest wait"] = f"{counts['longest wait'] * 1000:.0f} ms"
    print("random rebuilds: " + ", ".join(f"{v} {k}" for k, v in counts.items()))
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
