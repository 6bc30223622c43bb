"""kill -9 of the job, of the worker, of everything, and a crash of the server: in the middle of a slice, of an index build,
of a round. The task goes on by itself and redoes at most the slices that were under way, one for each connection.

The rebuild stands still at a place of the test's choice: its expressions wait there while a file exists. USING counts how often it is evaluated, in a sequence, which no rollback takes back: so the count tells what was
done twice. How long the task took to go on is printed, not judged.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Scenarios, equal, wait_until  # noqa: E402
from engine import children, is_alive, kill, phase  # noqa: E402
from rebuild import Rebuild  # noqa: E402

ROWS, WORKERS, WAIT_S = 20000, 2, 120
PLACES = {"slices": 1, "indexes": 2, "rounds": 3}
SCRIPT = f"""
CREATE SEQUENCE copied;
CREATE FUNCTION convert(a int, id int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('public.copied');
    IF id = {ROWS // 2} THEN PERFORM public.stand({PLACES["slices"]}); END IF;
    IF a = -1 THEN PERFORM public.stand({PLACES["rounds"]}); END IF;
    RETURN a; END $$;
CREATE FUNCTION known(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    IF id = {ROWS // 2} THEN PERFORM public.stand({PLACES["indexes"]}); END IF;
    RETURN id; END $$;
"""


def make(r, table):
    r.sql(f"""CREATE TABLE {table} (id int PRIMARY KEY, a int, pad text);
        INSERT INTO {table} SELECT i, i, repeat('x', 250) FROM generate_series(1, {ROWS}) i;
        CREATE INDEX ON {table} (known(id)); SELECT setval('copied', 1)""")


def converted(r):
    return int(r.admin("SELECT last_value - 1 FROM copied"))


class Gates:
    """A place is closed while its file exists, also over a crash of the server."""

    def __init__(self, r):
        self.r, self.folder = r, r.cluster.folder
        r.admin(f"""CREATE OR REPLACE FUNCTION public.stand(place int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            PERFORM pg_advisory_xact_lock_shared(place);
            WHILE (pg_stat_file('{self.folder}/gate' || place, true)).size IS NOT NULL LOOP PERFORM pg_sleep(0.005); END LOOP;
        END $$""")

    def file(self, place):
        return self.folder / f"gate{PLACES[place]}"

    def close(self, *places):
        for place in places:
            self.file(place).touch()

    def wait(self, place, id):
        """Until the rebuild stands there."""
        def stands():
            return self.r.admin(f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {PLACES[place]}") != "0"
        try:
            wait_until(stands, f"the rebuild at {place}", WAIT_S)
        except TimeoutError as e:
            raise TimeoutError(f"{e}: {self.r.describe(id)}") from None

    def open(self, *places):
        for place in places:
            self.file(place).unlink(missing_ok=True)


def worker_of(r):
    return next(p for p in children(r.pgveneer.process.pid) if phase(p) == "pgv-worker")


def kill_job(r):
    for job in children(worker_of(r)):
        kill(job)


def kill_worker(r):
    kill(worker_of(r))


def kill_all(r):
    """As the end of the machine: nobody can tell anybody. Then started again."""
    supervisor = r.pgveneer.process.pid
    family = [supervisor] + children(supervisor) + children(worker_of(r))
    for pid in family:
        kill(pid, signal.SIGSTOP)
    for pid in family:
        kill(pid)
    wait_until(lambda: not any(is_alive(p) for p in family), "all are gone")
    r.pgveneer.stop()
    r.pgveneer.start()


def crash_server(r):
    """What has committed is on the disk: a rebuild does not wait for that, and would do more than a slice again."""
    at = r.admin("SELECT pg_current_wal_insert_lsn()")
    wait_until(lambda: r.admin(f"SELECT pg_current_wal_flush_lsn() >= '{at}'") == "t", "what was written is on the disk")
    r.cluster.postgres.restart(signal.SIGQUIT)


def goes_on(r, id, before):
    """A server process of another run is at work, or the task has ended."""
    wait_until(lambda: r.admin(f"SELECT state = 'done' OR work_start > '{before}' FROM pgveneer.task WHERE task_id = '{id}'") == "t",
               "another server process is at work", WAIT_S, every=0.01)


def scenario(r, name, end):
    gates = Gates(r)
    try:
        go_on(r, gates, f"t_{name}", end)
    finally:
        gates.open(*PLACES)


def go_on(r, gates, table, end):
    times = []
    make(r, table)
    slice_rows = int(r.admin(f"SELECT max(n) FROM (SELECT count(*) AS n FROM {table} GROUP BY (ctid::text::point)[0]::int / 128) x"))
    gates.close(*PLACES)
    id = r.submit(f"ASYNC REBUILD TABLE {table} WITH (rebuild_guc_hg_rebuild_slice_mb = 1, rebuild_guc_hg_rebuild_workers = {WORKERS}) "
                  "ALTER a TYPE bigint USING convert(a, id)")
    most = ROWS
    for place in PLACES:
        gates.wait(place, id)
        if place == "indexes":  # from here on it is in the log, and the slices are done
            r.sql(f"UPDATE {table} SET a = -1 WHERE id = 77")
            assert converted(r) <= most, f"{converted(r)} evaluations in the slices, expected at most {most}"
        before, start = r.admin("SELECT clock_timestamp()"), time.monotonic()
        end(r)
        goes_on(r, id, before)
        times.append(f"{place} {time.monotonic() - start:.1f} s")
        most += WORKERS * slice_rows if place == "slices" else 3  # of a round: one key
        most += 33 if end is crash_server else 0  # numbers that a sequence skips then
        gates.open(place)
    r.wait_done(id, WAIT_S)
    got = converted(r)
    print(f"     {table}: goes on after " + ", ".join(times) + f"; {got} evaluations for {ROWS} rows, {slice_rows} in a slice", flush=True)
    assert got <= most, f"{got} evaluations, expected at most {most}"
    equal(r.sql(f"SELECT count(*), sum(id), sum(a), pg_typeof(min(a)) FROM {table}"),
          r.sql(f"SELECT {ROWS}, sum(i), sum(CASE i WHEN 77 THEN -1 ELSE i END), 'bigint' FROM generate_series(1, {ROWS}) i"), "rows")
    equal(r.admin(f"SELECT failure_count FROM pgveneer.task WHERE task_id = '{id}'"), "0", "failures")
    equal(r.admin("SELECT count(*) FROM pg_class WHERE relname LIKE 'tmp\\_rebuild%'"), "0", "left over")


def main():
    s = Scenarios("rebuilds go on")
    with Rebuild(settings={"autovacuum": "off"}) as r:
        r.sql(SCRIPT)
        s.run("kill -9 of the job", scenario, r, "job", kill_job)
        s.run("kill -9 of the worker", scenario, r, "worker", kill_worker)
        s.run("kill -9 of everything", scenario, r, "all", kill_all)
        s.run("crash of the server", scenario, r, "server", crash_server)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
