"""What tests of the task engine share: a cluster with the support schema, workers of task_probe (its
task kind is "Probe", see task_probe.c), and tasks whose runs are SQL.

Each run calls public.probe(id), which writes one row into public.runs in the run's transaction and
returns the order that public.orders holds for the task.
"""
import os
import pathlib
import signal
import subprocess

from cluster import Cluster, Pgveneer, build_dir, wait_until
from session import Held

SCHEMA = """
CREATE TABLE public.runs (id text, pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());
CREATE TABLE public.orders (id text PRIMARY KEY, wait_s float DEFAULT 0, error text, answer text,
                            until bigint); -- attempts up to this number fail; NULL: all
CREATE FUNCTION public.probe(task text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE o public.orders;
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext(task)) THEN
        RAISE EXCEPTION 'a run of % goes on elsewhere', task USING ERRCODE = '22000';
    END IF;
    INSERT INTO public.runs (id) VALUES (task);
    SELECT * INTO o FROM public.orders WHERE id = task;
    PERFORM pg_catalog.pg_sleep(o.wait_s);
    IF o.error IS NOT NULL AND (o.until IS NULL OR (SELECT last_value FROM public.attempts) <= o.until) THEN
        RAISE EXCEPTION 'ordered to fail' USING ERRCODE = o.error, DETAIL = 'As told.', HINT = 'Tell otherwise.';
    END IF;
    IF o.answer = 'kill once' THEN
        RETURN (SELECT 'kill' FROM pgveneer.task t WHERE t.task_id = probe.task AND t.crash_times = 0);
    END IF;
    RETURN o.answer;
END $$;
-- a sequence is not transactional: it counts attempts, those that were rolled back too
CREATE SEQUENCE public.attempts;
GRANT ALL ON SEQUENCE public.attempts TO service;
GRANT ALL ON public.runs, public.orders TO service;
"""


class Engine:
    def __init__(self, **settings):
        self.cluster = Cluster(**settings)
        self.held = Held(self.cluster.direct)

    def __enter__(self):
        self.cluster.__enter__()
        self.install("app")
        return self

    def install(self, dbname):
        c = self.cluster
        config = c.folder / "install.conf"
        config.write_text("service = 'host=127.0.0.1 port=%d user=service password=service'\n" % c.postgres.port)
        done = subprocess.run([build_dir() / "pgveneer", "install", "-c", config, "--dbname", dbname],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.sql(SCHEMA, dbname=dbname)

    def __exit__(self, *why):
        self.held.close()
        self.cluster.__exit__(*why)

    def sql(self, text, user="postgres", **more):
        return self.held.sql(text, user=user, **more)

    def worker(self, name, binary=None, **settings):
        child = Pgveneer(self.cluster.folder, {
            "service": f"host=127.0.0.1 port={self.cluster.postgres.port} user=service password=service",
            "databases": "app", "task_slots": 4, **settings}, "worker", name, binary or build_dir() / "task_probe")
        self.cluster.children.append(child)
        return child.start()

    def stop_workers(self):
        """And their tasks: the next scenario has the database for itself."""
        for child in self.cluster.children:
            child.stop(signal.SIGKILL)
        self.sql("DELETE FROM pgveneer.task")

    def order(self, task, wait_s=0, error=None, answer=None, until=None, dbname="app"):
        def literal(v):
            return "NULL" if v is None else "'%s'" % str(v).replace("'", "''")
        self.sql(f"""INSERT INTO public.orders VALUES ('{task}', {wait_s}, {literal(error)}, {literal(answer)}, {literal(until)})
                     ON CONFLICT (id) DO UPDATE SET wait_s = excluded.wait_s, error = excluded.error,
                     answer = excluded.answer, until = excluded.until""", dbname=dbname)

    def task(self, task, every="'1 hour'", dbname="app", **order):
        """Makes a task that is due at once."""
        self.order(task, dbname=dbname, **order)
        self.sql(f"""INSERT INTO pgveneer.task (task_id, category, what, owner, params, run_every, next_start_time)
                     VALUES ('{task}', 'Probe', 'probe()', 'app'::regrole,
                     jsonb_build_object('sql', 'SELECT public.probe(''{task}'') FROM nextval(''public.attempts'')'),
                     {every}, now()); NOTIFY pgveneer_task""", dbname=dbname)

    def due(self, task):
        self.sql(f"UPDATE pgveneer.task SET next_start_time = now() WHERE task_id = '{task}' AND state = 'active';"
                 "NOTIFY pgveneer_task")

    def get(self, task, columns, **where):
        return self.sql(f"SELECT {columns} FROM pgveneer.task WHERE task_id = '{task}'", **where)

    def runs(self, task):
        return int(self.sql(f"SELECT count(*) FROM public.runs WHERE id = '{task}'"))

    def attempts(self):
        return int(self.sql("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM public.attempts"))

    def wait(self, task, condition, timeout=30, **where):
        return wait_until(lambda: self.get(task, condition, **where) == "t", f"{task}: {condition}", timeout)

    def wait_working(self, task):
        """The run's statement is at work (in the pg_sleep of wait_s)."""
        self.wait(task, "EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = work_pid AND a.wait_event = 'PgSleep')")


def children(pid):
    """Process ids of the direct children."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(p) for p in task.read_text().split()]
    return found


def phase(pid):
    """What job_phase named: "pgv:read"; None when the process is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


def wait_job(worker, name=None, timeout=30):
    """The pid of the worker's only job, in this phase if one is named."""
    def find():
        pids = children(worker.process.pid)
        return pids[0] if pids and (name is None or phase(pids[0]) == name) else None
    return wait_until(find, f"a job in phase {name}", timeout, every=0.005)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = pathlib.Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass
