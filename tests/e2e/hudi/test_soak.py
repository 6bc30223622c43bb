"""A writer commits to merge-on-read tables (base files, log files, compactions, log compactions,
clusterings, cleanings, failed commits and their rollbacks, archivals) while tasks with an interval of five
seconds follow; jobs and workers are killed with SIGKILL all the while. At every look a target is exactly
the state of the commit at which its position stands, in the end the last one. First with the tables in a
folder, then in an object store that fails one request of twenty: it is busy, cuts the answer, or is silent.

    SOAK_SECONDS   how long each at least (8); `make soak` runs ten minutes
    SOAK_SEED      repeats a sequence of commits
    SOAK_STORE     local or s3 alone
"""
import collections
import contextlib
import os
import random
import signal
import sys
import time

from cluster import equal, wait_until
from engine import children, is_alive, kill
from hudi_stored import Stored, StoredTable
from hudi_sync import Hudi, duckdb_library
from mor_table import MorTable, Walk
from s3 import Server

SECONDS = int(os.environ.get("SOAK_SECONDS", "8"))
SEED = int(os.environ.get("SOAK_SEED", str(int(time.time()))))
STORES = [os.environ["SOAK_STORE"]] if os.environ.get("SOAK_STORE") else ["local", "s3"]
TABLES = {"log": {"layout": 1}, "event": {"layout": 2, "ordering": "ts", "merge": "EVENT_TIME"}}
COLUMNS = [("id", "bigint"), ("p", "text"), ("ts", "bigint"), ("v", "text"), ("n", "double precision")]
PAUSE_S = 0.15  # between two commits
KILL_S = 2.5  # between two kills, on average
STORE_TIMEOUT_S = 2
FAULTS = [(0.020, {"status": 503}), (0.010, {"cut": 0}), (0.010, {"cut": 150}),
          (0.011, {"delay": STORE_TIMEOUT_S + 1})]  # one request of twenty


class Follower:
    """A table, its writer, and the task that follows."""

    def __init__(self, h, name, number):
        self.h, self.name = h, name
        self.table = h.make_table(name, seed=SEED, **TABLES[name])
        self.walk = Walk(self.table, SEED + number, keys=300)
        self.table.commit([self.walk.row(k) for k in range(200)])
        h.foreign_table(f"ft_{name}", name, COLUMNS)
        declared = ", ".join(f"{c} {t}" for c, t in COLUMNS)
        h.sql(f"CREATE TABLE public.{name} ({declared}, PRIMARY KEY (id))")
        self.task = h.submit(f"public.{name}", f"public.ft_{name}", "5 seconds")
        self.seen, self.looks = set(), 0

    def look(self):
        """Position and rows of one moment."""
        connection = self.h.connection("postgres")
        with connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT latest_commit FROM hudi.hudi_sync_state WHERE target_oid = "
                           f"'public.{self.name}'::regclass")
            found = cursor.fetchone()
            cursor.execute(f"SELECT id, p, ts, v, n FROM public.{self.name}")
            names = [c for c, _ in COLUMNS]
            rows = {row[0]: dict(zip(names, row)) for row in cursor.fetchall()}
            cursor.execute("COMMIT")
        position = found[0] if found else None
        want = self.table.states[position] if position else {}
        if rows != want:
            wrong = [k for k in set(rows) | set(want) if rows.get(k) != want.get(k)]
            raise AssertionError(f"seed {SEED}: {self.name} at {position}: {len(wrong)} rows are wrong, one is "
                                 f"{rows.get(wrong[0])} instead of {want.get(wrong[0])}; before: {sorted(self.seen - {None})}")
        self.looks += 1
        self.seen.add(position)
        return position

    def finish(self):
        self.table.rollback_failed()
        self.table.commit([self.walk.row(k) for k in range(5)])
        wait_until(lambda: self.look() == self.table.instants[-1], f"{self.name} at the last commit", 240, every=0.2)


class Soak:
    def __init__(self, h):
        self.h, self.dice, self.kills, self.workers = h, random.Random(SEED), collections.Counter(), 0
        self.followers = [Follower(h, name, i) for i, name in enumerate(TABLES)]
        self.start_worker()

    def start_worker(self):
        self.workers += 1
        self.worker = self.h.cluster.start_proxy("worker", f"worker{self.workers}", duckdb_library=duckdb_library(),
                                                 task_slots=2, **self.h.store_settings())

    def kill_something(self):
        """False: nothing was there that the dice would have."""
        pids = children(self.worker.process.pid)
        if pids and self.dice.random() < 0.8:
            kill(self.dice.choice(pids))
            self.kills["jobs"] += 1
            return True
        if self.dice.random() < 0.3:
            pid = self.worker.process.pid
            kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), "the worker is gone")
            self.h.cluster.children.remove(self.worker)
            self.kills["workers"] += 1
            self.start_worker()
            return True
        return False

    def run(self):
        end, next_kill = time.monotonic() + SECONDS, time.monotonic() + KILL_S
        while time.monotonic() < end or not self.kills:
            for f in self.followers:
                f.walk.change()
                f.look()
            if time.monotonic() > next_kill and self.kill_something():
                next_kill = time.monotonic() + self.dice.uniform(0, 2 * KILL_S)
            time.sleep(PAUSE_S)
        for f in self.followers:
            f.finish()


class Local(Hudi):
    def make_table(self, name, **more):
        return MorTable(self.folder / name, duckdb_library(), **more)

    def store_settings(self):
        return {}

    def report(self):
        return ""


class Failing(Stored):
    def make_table(self, name, **more):
        return StoredTable(self, name, **more)

    def store_settings(self):
        return {**super().store_settings(), "hudi_store_timeout": STORE_TIMEOUT_S}

    def report(self):
        failed, all_of_them = self.server.faults.counts, len(self.server.counted("GET"))
        equal(sum(failed.values()) > 0, True, "some requests failed")
        return (f"; {sum(failed.values())} of {all_of_them} requests failed ({failed['status']} busy, {failed['cut']} cut, "
                f"{failed['delay']} silent)")


@contextlib.contextmanager
def open_store(store):
    if store == "local":
        with Local() as h:
            yield h
        return
    with Server(page=50) as server, Failing(server) as h:
        for rate, fault in FAULTS:
            server.faults.add(times=None, rate=rate, **fault)
        yield h


def soak_in(store):
    with open_store(store) as hudi:
        h = hudi.new_lane(0)
        soak = Soak(h)
        soak.run()
        h.close_lane()
        for f in soak.followers:
            if len(f.seen) < 2:
                raise AssertionError(f"{f.name}: the task did not follow")
            print(f"ok   soak: {store}, {f.name}: {len(f.table.states)} commits, seen at {len(f.seen)}, {f.looks} looks, "
                  "none differed")
        print(f"soak: {store}, {SECONDS} s, seed {SEED}, killed {soak.kills['jobs']} jobs and {soak.kills['workers']} "
              f"workers{hudi.report()}", flush=True)


def main():
    for store in STORES:
        soak_in(store)


if __name__ == "__main__":
    sys.exit(main())
