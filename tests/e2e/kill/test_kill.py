"""The kill test: a Hudi table grows commit by commit, and the processes that bring a PostgreSQL table
in step with it are killed with SIGKILL: 200 job processes, at least 100 of them between a run's first
read and its commit; workers and server processes too. At every look the target is exactly the state of
the commit at which its position stands, and in the end it is the last one.

    test_kill.py [KILLS]            default 200; PGVENEER_SEED repeats a sequence

A job is held at the phase that is aimed at (phase_hold.c), then killed there, or let go for some
milliseconds and killed where it is; it is stopped before its phase is read, so the count is exact.
"""
import collections
import hashlib
import os
import random
import signal
import sys
import time

from cluster import SqlError, build_dir, wait_until
from engine import children, is_alive, kill, phase
from hudi_sync import Hudi, duckdb_library
from session import Session

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("PGVENEER_KILLS", "200"))
SEED = int(os.environ.get("PGVENEER_SEED", "20220913"))
PHASES = ["read", "stage", "apply", "commit"]  # first read to commit
AIMS = PHASES * 3 + ["plan", "record"]
ROWS = 2000


class Table:
    """The Hudi table, and what it holds after each commit."""

    def __init__(self, hudi):
        self.hudi, self.rows, self.digests, self.n = hudi, {}, {None: digest({})}, 0
        self.newest = None

    def commit(self, dice):
        self.n += 1
        if self.n == 1:
            ids = list(range(ROWS))
        else:
            ids = dice.sample(range(ROWS), 150) + list(range(ROWS + self.n * 5, ROWS + self.n * 5 + 5))
        if self.n % 4 == 0:
            ids = dice.sample(sorted(self.rows), 40)
            instant = self.hudi.writer("delete", "kill", "--keys-sql", f"SELECT unnest({ids}) AS id")
            for i in ids:
                del self.rows[i]
        else:
            sql = f"SELECT id, 'c{self.n}-' || id AS v, {self.n} AS n, 'p' || id % 3 AS part FROM (SELECT unnest({ids}) AS id)"
            more = ("--key", "id", "--ordering", "n", "--partition", "part") if self.n == 1 else ()
            instant = self.hudi.writer("create" if self.n == 1 else "upsert", "kill", "--sql", sql, *more)
            self.rows.update({i: f"c{self.n}-{i}" for i in ids})
        self.newest = instant.split()[-1]
        self.digests[self.newest] = digest(self.rows)


def digest(rows):
    return hashlib.md5(",".join(f"{i}:{rows[i]}" for i in sorted(rows)).encode()).hexdigest()


class Killer:
    def __init__(self, hudi, dice):
        self.hudi, self.dice, self.table = hudi, dice, Table(hudi)
        self.count, self.others, self.looks, self.jobs = collections.Counter(), collections.Counter(), 0, 0
        self.folder = hudi.folder / "hold"
        self.folder.mkdir(mode=0o755)
        self.worker, self.workers = None, 0
        self.target, self.task, self.targets = None, None, 0
        self.last_job = None
        self.session = Session(hudi.cluster.direct)

    # processes

    def start_worker(self):
        self.workers += 1
        os.environ.update(LD_PRELOAD=str(build_dir() / "phase_hold.so"), PHASE_HOLD=str(self.folder))
        try:
            self.worker = self.hudi.cluster.start_proxy("worker", f"worker{self.workers}",
                                                        duckdb_library=duckdb_library(), task_slots=2)
        finally:
            del os.environ["LD_PRELOAD"], os.environ["PHASE_HOLD"]

    def hold(self, *phases):
        for p in PHASES + ["plan", "record"]:
            path = self.folder / f"hold.{p}"
            if p in phases:
                path.touch()
            else:
                path.unlink(missing_ok=True)

    def wait_held(self, phases):
        """A job that stands in one of the phases. The server may have recorded the end of a run whose
        process was killed meanwhile, so the task is made due again and again."""
        names = {f"pgv:{p}" for p in phases}
        again = time.monotonic() + 0.5

        def find():
            nonlocal again
            if time.monotonic() > again:
                self.due()
                again = time.monotonic() + 0.5
            for pid in children(self.worker.process.pid):
                if pid != self.last_job and phase(pid) in names:
                    return pid
        return wait_until(find, f"a job in {phases}", 60, every=0.002)

    def kill_job(self, pid):
        kill(pid, signal.SIGSTOP)
        name = (phase(pid) or "").removeprefix("pgv:")
        if not is_alive(pid):
            return False
        kill(pid)
        wait_until(lambda: not is_alive(pid), "killed", every=0.002)
        self.count[name] += 1
        self.last_job = pid
        return True

    # the database

    def sql(self, text):
        return self.session.sql(text)

    def ready(self):
        def answers():
            self.session.close()
            try:
                return self.sql("SELECT 1") == "1"
            except SqlError:
                return False
        wait_until(answers, "the server answers")

    def due(self):
        self.sql(f"UPDATE pgveneer.task SET next_start_time = now() WHERE task_id = '{self.task}' "
                 "AND next_start_time > now(); NOTIFY pgveneer_task")

    def new_target(self):
        self.targets += 1
        if self.task:
            self.sql(f"SELECT pgveneer.pg_task_remove('{self.task}')")
        self.target = f"public.t{self.targets}"
        self.hudi.sql(f"CREATE TABLE {self.target} (id integer PRIMARY KEY, v text, n integer, part text)")
        self.task = self.hudi.submit(self.target, "public.ft", "1 hour")
        self.sql("NOTIFY pgveneer_task")

    def look(self):
        """The target is exactly the commit at which its position stands; that commit."""
        position, got = self.sql(f"""
            SELECT (SELECT latest_commit FROM hudi.hudi_sync_state WHERE target_oid = '{self.target}'::regclass),
                   (SELECT md5(coalesce(string_agg(id || ':' || v, ',' ORDER BY id), '')) FROM {self.target})
            """).split("|")
        self.looks += 1
        position = position or None
        want = self.table.digests.get(position)
        if got != want:
            raise AssertionError(f"target is not the state of commit {position}")
        return position

    def state(self):
        return self.sql(f"SELECT state, failure_times, crash_times, last_log, last_crash FROM pgveneer.task "
                        f"WHERE task_id = '{self.task}'")

    # one round: a commit, kills on the way to it, then in step

    def kill_round(self, kills):
        for _ in range(kills):
            aim = self.dice.choice(AIMS)
            self.hold(aim, "record")
            self.due()
            pid = self.wait_held([aim, "record"])
            self.jobs += 1
            missed = phase(pid) == "pgv:record" and aim != "record"
            if missed or self.dice.random() < 0.6:
                self.hold()
                time.sleep(self.dice.random() * (0.02 if not missed else 0))
            if missed:  # no such phase in this run, or the failure for three crashes
                wait_until(lambda: not is_alive(pid), "the run ends")
            else:
                self.kill_job(pid)
            self.look()
        self.hold()

    def kill_others(self):
        """A worker, or a server process of the job (which restarts the server), or the server."""
        victim = ["worker", "server process", "server"][sum(self.others.values()) % 3]
        aim = self.dice.choice(PHASES[:3])
        self.hold(aim, "record")
        self.due()
        pid = self.wait_held([aim, "record"])
        if victim == "worker":
            self.worker.process.kill()
            self.hold()
            wait_until(lambda: not is_alive(pid), "its job ends")
            self.worker.process.popen.wait()
            self.worker.process = None
            self.start_worker()
        elif victim == "server process":
            kill(int(self.sql(f"SELECT work_pid FROM pgveneer.task WHERE task_id = '{self.task}'")))
            self.hold()
            time.sleep(0.1)
        else:
            self.hudi.cluster.postgres.restart(signal.SIGQUIT)
            self.hold()
        self.others[victim] += 1
        self.ready()
        self.look()

    def in_step(self):
        self.hold()

        def done():
            self.due()
            return self.look() == self.table.newest and self.sql(
                f"SELECT lease_until IS NULL AND failure_times = 0 FROM pgveneer.task WHERE task_id = '{self.task}'") == "t"
        try:
            wait_until(done, f"in step with {self.table.newest}", 60)
        except TimeoutError as e:
            raise TimeoutError(f"{e}: {self.state()}") from None

    def run(self):
        self.table.commit(self.dice)
        self.hudi.foreign_table("ft", "kill", [("id", "integer"), ("v", "text"), ("n", "integer"), ("part", "text")])
        self.start_worker()
        rounds = 0
        while sum(self.count.values()) < KILLS or sum(self.count[p] for p in PHASES) < KILLS / 2:
            if rounds % 6 == 0:
                self.new_target()
            else:
                self.table.commit(self.dice)
            self.kill_round(self.dice.randint(4, 12))
            if rounds % 3 == 2:
                self.kill_others()
            self.in_step()
            rounds += 1
        return rounds


def main():
    print(f"kill test: seed {SEED}", flush=True)
    start = time.monotonic()
    with Hudi() as hudi:
        killer = Killer(hudi, random.Random(SEED))
        try:
            rounds = killer.run()
        finally:
            killer.hold()
            killer.session.close()
            killed = sum(killer.count.values())
            inside = sum(killer.count[p] for p in PHASES)
            print(f"{killed} job processes killed: " +
                  ", ".join(f"{n or 'start'} {killer.count[n]}" for n in sorted(killer.count)))
            print(f"{inside} of them between a run's first read and its commit; also killed: {dict(killer.others)}")
            print(f"{killer.looks} looks at the target, {time.monotonic() - start:.0f} s", flush=True)
    print(f"kill test: passed; {rounds} commits, {killer.targets} targets, each in step at its end")


main()
