"""Runs with several readers: whatever their number, the target is the same, and each of them was at work; the first
error of one ends the run."""
import re
import subprocess
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi, duckdb_library
from mor_table import MorTable

COLUMNS = [("id", "bigint"), ("p", "text"), ("ts", "bigint"), ("v", "text"), ("n", "double precision")]
READERS = [1, 2, 3]
GROUPS = 5  # in each of two partitions


def run(h, task, readers):
    """(queries, rows) of each reader, by relation that was sent."""
    h.write_config(hudi_readers=readers, log_level="debug")
    done = subprocess.run(h.job_command(task), stderr=subprocess.PIPE, text=True, check=True)
    equal(h.outcome(task)[:2], ("active", 0), f"with {readers} readers: {h.outcome(task)}")
    sent = []
    for place, queries, rows in re.findall(r"reader (\d+) of \d+: (\d+) queries, (\d+) rows", done.stderr):
        if place == "1":
            sent.append([])
        sent[-1].append((int(queries), int(rows)))
    return sent


def make_tasks(h, name):
    """A target and its task for each number of readers."""
    declared = ", ".join(f"{c} {t}" for c, t in COLUMNS)
    tasks = {}
    for n in READERS:
        h.sql(f"CREATE TABLE public.{name}_{n} ({declared}, PRIMARY KEY (id))")
        tasks[n] = h.submit(f"public.{name}_{n}", "public.ft")
    return tasks


def rows_of(h, table):
    names = [c for c, _ in COLUMNS]
    with h.connection("postgres").cursor() as cursor:
        cursor.execute(f"SELECT id, p, ts, v, n FROM public.{table}")
        return {row[0]: dict(zip(names, row)) for row in cursor.fetchall()}


def follow(h, table, name, tasks, all_have_rows=False):
    for n, task in tasks.items():
        sent = run(h, task, n)
        equal(rows_of(h, f"{name}_{n}") == table.rows(), True, f"rows of {name} with {n} readers")
        if n == 1:
            equal(sent, [], "one reader needs no thread")
            continue
        equal([len(readers) for readers in sent], [n] * max(1, len(sent)), "readers")
        least = min(min(readers) for readers in sent)
        equal((least[0] > 0, least[1] > 0 or not all_have_rows), (True, True), f"every reader worked: {sent}")


def row(i, tag):
    return {"id": i, "p": "ab"[i % 2], "ts": i, "v": None if i % 7 == 0 else f"{tag} {i}", "n": i / 4}


def main():
    s = Scenarios("readers")
    with Hudi() as hudi:
        h = hudi.new_lane(0)
        table = MorTable(h.folder / "t", duckdb_library(), groups=GROUPS)
        table.commit([row(i, "base") for i in range(4000)], base=True)
        h.foreign_table("ft", "t", COLUMNS)
        tasks = make_tasks(h, "t")

        @s.scenario("the first run: every reader has files")
        def _():
            follow(h, table, "t", tasks, all_have_rows=True)

        @s.scenario("changes and deletes: every reader sees what was compared and merged")
        def _():
            table.commit([row(i, "log") for i in range(0, 4200, 3)], deletes=range(1, 900, 9))
            follow(h, table, "t", tasks)
            table.compact()
            table.commit([row(i, "more") for i in range(1000)], deletes=range(1000, 1400))
            follow(h, table, "t", tasks)

        @s.scenario("a file that cannot be read ends the run, and nothing was written")
        def _():
            others = make_tasks(h, "other")
            table.compact()
            path = h.folder / "t" / max(g.base for g in table.groups)[0]
            good = path.read_bytes()
            path.write_bytes(good[:4] + bytes(len(good) // 2) + good[4 + len(good) // 2:])
            h.write_config(hudi_readers=2)
            h.run(others[2])
            state, failures, log = h.outcome(others[2])
            equal((state, failures > 0, rows_of(h, "other_2")), ("active", True, {}), log)
            path.write_bytes(good)
            follow(h, table, "other", others)

        h.close_lane()
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
