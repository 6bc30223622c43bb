"""What tests of the Hudi synchronisation share: a cluster with the support schema, tables of
hudi_writer or unpacked ones below its folder, tasks, and runs of the job process one at a time.

    with Hudi() as h:
        h.writer("create", "t", "--key", "id", "--sql", "SELECT 1 AS id, 'a' AS v")
        h.foreign_table("ft", "t", [("id", "integer"), ("v", "text")])
        h.sql("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
        task = h.submit("public.t", "public.ft")
        h.run(task)                              # one run of the job, in a process of its own
        h.outcome(task)                          # state and last_log
"""
import copy
import json
import os
import pathlib
import shutil
import subprocess

from cluster import Cluster, ROOT, build_dir
from session import Held

DUCKDB = os.environ.get("PGVENEER_DUCKDB")


def duckdb_library():
    """As the build found it."""
    if DUCKDB:
        return DUCKDB
    for line in (build_dir() / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("DUCKDB_DIR:"):
            return line.split("=", 1)[1] + "/libduckdb.so"
    return str(ROOT / ".deps/duckdb/libduckdb.so")


class Hudi:
    lane = ""

    def __init__(self, **settings):
        self.cluster = Cluster(**settings)
        self.psqls = Held(self.cluster.direct)

    def new_lane(self, number):
        """The same cluster with settings of its own, for work side by side."""
        other = copy.copy(self)
        other.lane = str(number)
        other.held = {}
        other.write_config()
        return other

    def connection(self, user):
        """Of a lane: held open, since a psql a statement takes longer than what most statements do."""
        import psycopg2 # Debian's; only who asks for lanes needs it
        if user not in self.held:
            self.held[user] = psycopg2.connect(self.cluster.direct.dsn(user))
            self.held[user].autocommit = True
        return self.held[user]

    def held_sql(self, text, user):
        with self.connection(user).cursor() as cursor:
            cursor.execute(text)
            rows = cursor.fetchall() if cursor.description else []
        return "\n".join("|".join("" if v is None else str(v) for v in row) for row in rows)

    def close_lane(self):
        for connection in self.held.values():
            connection.close()

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.folder = pathlib.Path(self.cluster.folder)
            self.write_config()
            self.pgveneer("install", "--dbname", "app")
            self.sql("SELECT pgveneer.create_hudi_sync_table()")
            self.sql("CALL pgveneer.create_server('lake', 'dfs_fdw', '{\"type\": \"local\"}', false)")
        except BaseException:
            self.cluster.close(failed=True)
            raise
        return self

    def __exit__(self, *why):
        self.psqls.close()
        self.cluster.__exit__(*why)

    def write_config(self, **settings):
        lines = {"service": f"host=127.0.0.1 port={self.cluster.postgres.port} user=service password=service",
                 "hudi_local_roots": str(self.folder), "duckdb_library": duckdb_library(),
                 "log_level": "warning", **settings}
        self.config = self.folder / f"pgveneer{self.lane}.conf"
        self.config.write_text("".join(f"{k} = '{v}'\n" for k, v in lines.items()))
        self.config.chmod(0o644)

    def pgveneer(self, command, *args, check=True, **popen):
        return subprocess.run([build_dir() / "pgveneer", command, "-c", self.config, *args], check=check,
                              stderr=None, **popen)

    def sql(self, text, user="app", **more):
        if self.lane and not more:
            return self.held_sql(text, user)
        return self.psqls.sql(text, user=user, **more)

    def sql_error(self, text, user="app"):
        return self.cluster.direct.sql_error(text, user=user)

    # tables in the lake

    def writer(self, command, table, *args):
        """Runs hudi_writer; what it prints (the instant)."""
        if command == "create" and "--name" not in args:
            args += ("--name", table)
        done = subprocess.run([build_dir() / "hudi_writer", command, self.folder / table, *map(str, args)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"hudi_writer {command}: {done.stderr.strip()}")
        self.open_up(self.folder / table)
        return done.stdout.strip()

    @staticmethod
    def open_up(folder):
        """The job may run as another user."""
        if os.getuid() == 0:
            for parent, _, files in os.walk(folder):
                os.chmod(parent, 0o755)
                for name in files:
                    os.chmod(os.path.join(parent, name), 0o644)

    def describe(self, folder):
        """hudi_columns as a dict; CalledProcessError.stderr says why a table is refused."""
        done = subprocess.run([build_dir() / "hudi_columns", duckdb_library(), folder], capture_output=True,
                              text=True, check=True)
        return json.loads(done.stdout)

    def foreign_table(self, name, folder, columns):
        """columns: (name, type) pairs; folder below the cluster's, or absolute."""
        declared = json.dumps([{"name": n, "type": t, "collation": None, "not_null": False} for n, t in columns])
        options = json.dumps({"foldername": str(self.folder / folder) + "/", "format": "hudi"})
        self.sql(f"CALL pgveneer.create_foreign_table(ARRAY['public', {quote(name)}], {quote(declared)}, 'lake', "
                 f"{quote(options)}, false, '')")

    # tasks

    def submit(self, target, source, *more, user="app"):
        args = ", ".join([f"{quote(target)}::regclass", f"{quote(source)}::regclass", *map(quote, more)])
        return self.sql(f"SELECT pgveneer.hudi_sync_task_submit({args})", user=user)

    def job_command(self, task):
        """Claims the task as a worker would; the command line of its run. None: it is not active."""
        fencing = self.sql(f"""
            UPDATE pgveneer.task SET fencing = fencing + 1, worker = 'test',
                   lease_until = clock_timestamp() + interval '15 seconds', next_start_time = clock_timestamp()
             WHERE task_id = '{task}' AND state = 'active' RETURNING fencing""", user="postgres")
        return fencing and [build_dir() / "pgveneer", "job", "-c", self.config, "--dbname", "app",
                            "--task-id", task, "--fencing", fencing]

    def run(self, task, timeout=120, **popen):
        """One run, as a worker would start it. False: the task is not active."""
        args = self.job_command(task)
        if not args:
            return False
        done = subprocess.run(args, timeout=timeout, **popen)
        if done.returncode != 0:
            raise AssertionError(f"job ended with {done.returncode}")
        return True

    def outcome(self, task):
        """(state, failure_times, last_log)"""
        state, failures, log = self.sql(f"SELECT state, failure_times, last_log FROM pgveneer.task "
                                        f"WHERE task_id = '{task}'", user="postgres").split("|", 2)
        return state, int(failures), log

    def run_well(self, task, **more):
        """A run that must succeed; its last_log."""
        if not self.run(task, **more):
            raise AssertionError(f"task is {self.outcome(task)}")
        state, failures, log = self.outcome(task)
        if state != "active" or failures != 0:
            raise AssertionError(f"run failed: {state}, {failures}: {log}")
        return log

    def position(self, target):
        return self.sql(f"SELECT latest_commit FROM hudi.hudi_sync_state WHERE target_oid = {quote(target)}::regclass",
                        user="postgres")

    def history(self, task):
        """Row counts of its runs, oldest first."""
        text = self.sql(f"SELECT row_count FROM pgveneer.task_history WHERE task_id = '{task}' "
                        "ORDER BY history_id", user="postgres")
        return [int(n) for n in text.split("\n") if n]

    def remove_folder(self, table):
        shutil.rmtree(self.folder / table)


def quote(text):
    return "'" + str(text).replace("'", "''") + "'"


def name(text):
    return '"' + str(text).replace('"', '""') + '"'
