"""The synchronisation job on tables of hudi_writer: every kind of commit against a model, migration,
files opened, duplicate keys, positions that are lost, rules and rights, and what an error leaves."""
import re
import shutil
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi

COLUMNS = [("id", "integer"), ("part", "text"), ("v", "text"), ("ts", "bigint")]
s = Scenarios("sync")


def values(rows):
    """[(id, part, v, ts)] as SQL that hudi_writer runs."""
    text = ", ".join(f"({i}, '{p}', '{v}', {ts})" for i, p, v, ts in rows)
    return ("SELECT id::INTEGER AS id, part::VARCHAR AS part, v::VARCHAR AS v, ts::BIGINT AS ts "
            f"FROM (VALUES {text}) t(id, part, v, ts)")


def keys(ids):
    return "SELECT id::INTEGER AS id FROM (VALUES " + ", ".join(f"({i})" for i in ids) + ") t(id)"


class Table:
    """A Hudi table, its foreign table, its target, its task."""
    count = 0

    def __init__(self, h, rows, *options, key="id", target=None, setup="", columns=COLUMNS):
        Table.count += 1
        self.h, self.name = h, f"t{Table.count}"
        self.target, self.source, self.folder = f"public.{self.name}", f"public.f{self.name}", f"lake{Table.count}"
        h.writer("create", self.folder, "--key", key, "--ordering", "ts", *options,
                 *(["--sql", rows if isinstance(rows, str) else values(rows)] if rows else []))
        h.foreign_table(f"f{self.name}", self.folder, columns)
        h.sql(f"CREATE TABLE {self.target} " + (target or "(id integer PRIMARY KEY, part text, v text, ts bigint)"))
        if setup:
            h.sql(setup.replace("TARGET", self.target))
        self.task = None

    def submit(self, *more):
        self.task = self.h.submit(self.target, self.source, *more)
        return self

    def commit(self, command, *args):
        return self.h.writer(command, self.folder, *args)

    def upsert(self, rows, *more):
        return self.commit("upsert", "--sql", values(rows), *more)

    def run(self):
        return self.h.run_well(self.task)

    def fail(self):
        """A run that must fail: (state, last_log)."""
        self.h.run(self.task)
        state, failures, log = self.h.outcome(self.task)
        equal(failures, 1, f"failure_times after {log!r}")
        return state, log

    def rows(self, what="id, part, v, ts"):
        text = self.h.sql(f"SELECT {what} FROM {self.target} ORDER BY 1")
        return [tuple(line.split("|")) for line in text.split("\n") if line]

    def expect(self, rows):
        equal(self.rows(), [(str(i), p, v, str(ts)) for i, p, v, ts in sorted(rows)], "target")

    def history(self):
        return self.h.history(self.task)


def row(i, tag="a"):
    return (i, "p%d" % (i % 3), f"{tag}{i}", i * 10)


def kinds(h, *options, meta=True):
    """Every kind of commit, one after the other and with a task that sleeps through some."""
    model = {i: row(i) for i in range(30)}
    t = Table(h, model.values(), "--partition", "part", "--groups", 2, *options).submit()
    late = Table.__new__(Table)
    late.__dict__.update(t.__dict__, target=t.target + "_late")
    h.sql(f"CREATE TABLE {late.target} (id integer PRIMARY KEY, part text, v text, ts bigint)")
    late.submit()

    def step(name, changes, *, also_late=False):
        t.run()
        equal(t.history()[-1], changes, f"changes of {name}")
        t.expect(model.values())
        if also_late:
            late.run()
            late.expect(model.values())

    step("create", 30, also_late=True)
    changed = {i: row(i, "b") for i in (1, 2, 3, 31, 32)}
    model.update(changed)
    t.upsert(changed.values())
    step("upsert", 5)
    t.commit("delete", "--keys-sql", keys([4, 5, 31]))
    for i in (4, 5, 31):
        del model[i]
    step("delete", 3)
    t.commit("cluster", "--groups", 1)
    step("cluster", 0, also_late=True)
    again = {5: row(5, "c"), 6: row(6, "c")}
    model.update(again)
    t.upsert(again.values())
    step("upsert after cluster", 2)
    new_p1 = {i: row(i, "d") for i in (1, 40)}  # 1 and 40 are of p1: the rest of it goes
    gone = [i for i in model if i % 3 == 1 and i not in new_p1]
    for i in gone:
        del model[i]
    model.update(new_p1)
    t.commit("insert-overwrite", "--sql", values(new_p1.values()))
    step("insert-overwrite", len(gone) + 2)
    gone = [i for i in model if i % 3 == 2]
    for i in gone:
        del model[i]
    t.commit("delete-partition", "--partition-path", path(t, "p2"))
    step("delete-partition", len(gone), also_late=True)
    whole = {i: row(i, "e") for i in (0, 100)}
    gone = [i for i in model if i not in whole]
    model.clear()
    model.update(whole)
    t.commit("insert-overwrite", "--table", "--sql", values(whole.values()))
    step("insert-overwrite table", len(gone) + 2, also_late=True)


def path(t, part):
    hive = (t.h.folder / t.folder / f"part={part}").exists()
    return f"part={part}" if hive else part


def store_and_kinds(h):
    for layout in (1, 2):
        for more in ([], ["--hive-style"], ["--no-meta"], ["--drop-partition-columns", "--hive-style"]):
            s.run(f"kinds of commits, layout {layout} {' '.join(more)}", kinds, h, "--layout", layout, *more)


def scenarios(h):
    @s.scenario("nothing new: nothing written")
    def _():
        t = Table(h, [row(1)]).submit()
        t.run()
        before = h.sql("SELECT xmin, * FROM hudi.hudi_sync_state ORDER BY target_oid", user="postgres")
        t.run()
        equal(h.sql("SELECT xmin, * FROM hudi.hudi_sync_state ORDER BY target_oid", user="postgres"), before, "state")
        equal(t.history(), [1], "history")

    @s.scenario("a table without commits")
    def _():
        t = Table(h, None).submit()
        t.run()
        equal((t.history(), t.rows()), ([], []))

    @s.scenario("migration: history counts the changes, other rows keep their xmin")
    def _():
        model = {i: row(i) for i in range(100)}
        t = Table(h, model.values(), "--groups", 3)
        k = t.upsert([row(i, "b") for i in range(10)])
        model.update({i: row(i, "b") for i in range(10)})
        h.sql(f"INSERT INTO {t.target} VALUES " + ", ".join(str(r) for r in model.values()))
        t.upsert([row(i, "c") for i in (5, 50, 200)])
        model.update({i: row(i, "c") for i in (5, 50, 200)})
        t.commit("delete", "--keys-sql", keys([7, 70]))
        before = dict(t.rows("id, xmin"))
        h.sql(f"SELECT pgveneer.hudi_set_sync_commit('{t.target}', '{t.source}', '{k}')")
        t.submit().run()
        for i in (7, 70):
            del model[i]
        t.expect(model.values())
        equal(t.history(), [5], "history")
        after = dict(t.rows("id, xmin"))
        kept = [i for i in before if i in after and before[i] == after[i]]
        equal(len(kept), 96, "rows that keep their xmin")

    @s.scenario("a run opens only the files of the window")
    def _():
        t = Table(h, [row(i) for i in range(60)], "--partition", "part", "--groups", 4).submit()
        t.run()
        t.upsert([row(1, "b")])
        shown = h.writer("show", t.folder, "--time", h.position(t.target))
        touched = len(re.findall(r"^read ", shown, flags=re.M))
        equal(touched, 1, f"touched groups of {shown}")
        equal(opened(h, t), touched, "files opened")
        t.commit("delete", "--keys-sql", keys([2]))
        if not 2 <= opened(h, t) <= 13:
            raise AssertionError("a delete compares the old file with the new one")

    @s.scenario("duplicate keys: the highest ordering value, then the latest commit")
    def _():
        t = Table(h, [(1, "p", "low", 10), (2, "p", "x", 10), (3, "q", "y", 1)], "--partition", "part").submit()
        t.run()
        t.commit("insert", "--sql", values([(1, "p", "high", 20), (2, "p", "older value", 5), (3, "q", "same", 1)]))
        t.run()
        t.expect([(1, "p", "high", 20), (2, "p", "x", 10), (3, "q", "same", 1)])
        fresh = Table.__new__(Table)
        fresh.__dict__.update(t.__dict__, target=t.target + "_fresh")
        h.sql(f"CREATE TABLE {fresh.target} (id integer PRIMARY KEY, part text, v text, ts bigint)")
        fresh.submit().run()  # the direct load meets the duplicates and goes through staging
        fresh.expect([(1, "p", "high", 20), (2, "p", "x", 10), (3, "q", "same", 1)])
        equal(fresh.history(), [3], "history")

    @s.scenario("a key in two partitions is deleted when no slice holds it")
    def _():
        t = Table(h, [(1, "p", "in p", 1), (1, "q", "in q", 2), (2, "p", "other", 1)], "--partition", "part").submit()
        t.run()
        t.expect([(1, "q", "in q", 2), (2, "p", "other", 1)])
        t.commit("delete-partition", "--partition-path", "q")
        t.run()
        t.expect([(1, "p", "in p", 1), (2, "p", "other", 1)])
        t.commit("delete-partition", "--partition-path", "p")
        t.run()
        t.expect([])

    @s.scenario("a first run into rows that are there keeps those that Hudi does not know")
    def _():
        t = Table(h, [row(1), row(2)], setup="INSERT INTO TARGET VALUES (1, 'x', 'old', 0), (9, 'x', 'mine', 0)").submit()
        log = t.run()
        t.expect([row(1), row(2), (9, "x", "mine", 0)])
        if "kept" not in log:
            raise AssertionError(f"last_log: {log!r}")

    @s.scenario("the way is lost: what differs is written, what vanished is deleted")
    def _():
        t = Table(h, [row(i) for i in range(20)]).submit()
        t.run()
        before = dict(t.rows("id, xmin"))
        for tag in "bcd":
            t.upsert([row(3, tag), row(4, tag)])
        t.commit("delete", "--keys-sql", keys([5]))
        t.commit("archive", "--keep", 1)
        t.commit("clean", "--keep", 1)
        log = t.run()
        model = [row(i, "d" if i in (3, 4) else "a") for i in range(20) if i != 5]
        t.expect(model)
        equal(t.history()[-1], 3, "changes")
        after = dict(t.rows("id, xmin"))
        equal(sum(before[i] == after[i] for i in after), 17, "rows that keep their xmin")
        if "full comparison" not in log:
            raise AssertionError(f"last_log: {log!r}")

    @s.scenario("a position that is ahead of the table")
    def _():
        t = Table(h, [row(1)])
        h.sql(f"SELECT pgveneer.hudi_set_sync_commit('{t.target}', '{t.source}', '20991231235959')")
        log = t.submit().run()
        if "WARNING" not in log:
            raise AssertionError(f"last_log: {log!r}")
        equal(t.rows(), [])

    @s.scenario("columns come and go")
    def _():
        t = Table(h, [row(1), row(2)], target="(id integer PRIMARY KEY, v text, ts bigint, extra text)",
                  columns=COLUMNS + [("extra", "text")]).submit()
        t.run()
        equal(t.rows("id, v, ts, extra IS NULL"), [("1", "a1", "10", "t"), ("2", "a2", "20", "t")])
        t.commit("upsert", "--sql", "SELECT 2::INTEGER AS id, 'p'::VARCHAR AS part, 'n' AS v, 7::BIGINT AS ts, 'new' AS extra")
        t.run()
        equal(t.rows("id, v, ts, extra"), [("1", "a1", "10", ""), ("2", "n", "7", "new")])

    @s.scenario("column lists")
    def _():
        t = Table(h, [row(1), row(2)], target="(key integer PRIMARY KEY, word text, stamp bigint, own text DEFAULT 'd')")
        t.submit("key, word, stamp", "id, v, ts").run()
        equal(t.rows("key, word, stamp, own"), [("1", "a1", "10", "d"), ("2", "a2", "20", "d")])

    @s.scenario("an unreadable store fails and moves nothing; transient or not, it recovers")
    def _():
        t = Table(h, [row(1)]).submit()
        t.run()
        t.upsert([row(2)])
        hidden = h.folder / (t.folder + "_hidden")
        shutil.move(h.folder / t.folder, hidden)
        state, log = t.fail()
        equal(state, "active", log)
        shutil.move(hidden, h.folder / t.folder)
        t.run()
        t.expect([row(1), row(2)])

    @s.scenario("a damaged file fails and moves nothing")
    def _():
        t = Table(h, [row(1)]).submit()
        files = list((h.folder / t.folder).rglob("*.parquet"))
        good = files[0].read_bytes()
        files[0].write_bytes(good[:len(good) // 2])
        state, log = t.fail()
        equal((state, t.rows()), ("active", []), log)
        files[0].write_bytes(good)
        t.run()
        t.expect([row(1)])


def opened(h, t):
    """Runs the task; how many data files it opened."""
    h.write_config(log_level="debug")
    log = h.folder / "job.log"
    with open(log, "w") as f:
        h.run(t.task, stderr=f)
    h.write_config()
    return int(re.findall(r"opened (\d+) data files", log.read_text())[-1])


def refusals(h):
    def misconfigured(t, word):
        state, log = t.submit().fail()
        equal(state, "suspended", log)
        if word not in log:
            raise AssertionError(f"no {word!r} in {log!r}")
        equal(h.sql(f"SELECT count(*) FROM {t.target}"), "0", "rows")

    @s.scenario("another primary key than the record key")
    def _():
        misconfigured(Table(h, [row(1)], target="(id integer, part text, v text PRIMARY KEY, ts bigint)"), "(id)")

    @s.scenario("a primary key with the partition column is as good")
    def _():
        t = Table(h, [(1, "p", "a", 1), (1, "q", "b", 1)], "--partition", "part",
                  target="(id integer, part text, v text, ts bigint, PRIMARY KEY (part, id))").submit()
        t.run()
        equal(t.rows("part, id, v"), [("p", "1", "a"), ("q", "1", "b")])

    @s.scenario("the ordering field is missing")
    def _():
        misconfigured(Table(h, [row(1)], target="(id integer PRIMARY KEY, v text)"), '"ts"')

    @s.scenario("a type that cannot be stored")
    def _():
        misconfigured(Table(h, [row(1)], target="(id integer PRIMARY KEY, v date, ts bigint)"), '"v"')

    @s.scenario("no Hudi table in the folder")
    def _():
        t = Table(h, [row(1)])
        shutil.rmtree(h.folder / t.folder / ".hoodie")
        misconfigured(t, "Hudi")

    @s.scenario("a folder outside of hudi_local_roots")
    def _():
        t = Table(h, [row(1)])
        h.write_config(hudi_local_roots=str(h.folder / "elsewhere"))
        try:
            misconfigured(t, "hudi_local_roots")
        finally:
            h.write_config()

    @s.scenario("rights of the owner are asked at each run")
    def _():
        h.sql("CREATE ROLE reader; GRANT reader TO service; GRANT USAGE ON SCHEMA public TO reader", user="postgres")
        t = Table(h, [row(1)])
        h.sql(f"GRANT INSERT, UPDATE ON {t.target} TO reader; GRANT SELECT ON {t.source} TO reader")
        t.task = h.sql(f"SET ROLE reader; SELECT pgveneer.hudi_sync_task_submit('{t.target}'::regclass, "
                       f"'{t.source}'::regclass)", user="postgres")
        t.run()
        t.expect([row(1)])
        t.upsert([row(2)])
        t.commit("delete", "--keys-sql", keys([1]))
        h.sql(f"REVOKE UPDATE ON {t.target} FROM reader")
        state, log = t.fail()
        equal(state, "active", log)
        if "reader" not in log:
            raise AssertionError(log)
        h.sql(f"GRANT UPDATE ON {t.target} TO reader; REVOKE SELECT ON {t.source} FROM reader")
        h.run(t.task)
        equal(h.outcome(t.task)[1], 2, "failure_times")
        h.sql(f"GRANT SELECT ON {t.source} TO reader")
        t.run()  # INSERT and UPDATE are enough for deletes too
        t.expect([row(2)])


def main():
    with Hudi() as h:
        store_and_kinds(h)
        scenarios(h)
        refusals(h)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
