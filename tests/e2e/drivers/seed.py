"""What the drivers need for the statements of the vendor's page "Synchronizing Hudi Tasks": a small Hudi
table, pgveneer with a worker, and the page's own names.

    with Seed() as s:
        s.cluster.proxy …            # hudi_read1 (foreign), in_rel (empty), in_cdl (filled by CDL's stand-in)
        s.commit("7", "8")           # one more commit: these ids
        s.ids("in_rel")              # what stands in a target
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, build_dir, wait_until  # noqa: E402
from hudi_sync import duckdb_library  # noqa: E402

FIRST_IDS = "1,2,3,4,5"

OBJECTS = """
CREATE SERVER obs_server FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'local');
CREATE FOREIGN TABLE public.hudi_read1 (id bigint, name text)
    SERVER obs_server OPTIONS (foldername '{folder}/', format 'hudi', encoding 'utf-8') DISTRIBUTE BY ROUNDROBIN;
CREATE TABLE public.in_rel (id bigint PRIMARY KEY, name text);
CREATE TABLE public.in_cdl (id bigint PRIMARY KEY, name text);
INSERT INTO public.in_cdl SELECT i, 'from CDL' FROM generate_series(1, 5) i;
"""


class Seed:
    def __init__(self):
        self.cluster = Cluster(rounds=4096)

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.folder = self.cluster.folder / "lake"
            self.first_commit = self.write("create", "--name", "hudi_read1", "--key", "id", "--sql", self.rows(FIRST_IDS))
            self.cluster.start_proxy("run", duckdb_library=duckdb_library())
            self.cluster.proxy.sql(OBJECTS.format(folder=self.folder))
        except BaseException:
            self.cluster.close(failed=True)
            raise
        return self

    def __exit__(self, *why):
        self.cluster.__exit__(*why)

    def rows(self, ids):
        values = ", ".join(f"({i}::BIGINT, 'row {i}')" for i in ids.split(","))
        return f"SELECT * FROM (VALUES {values}) v (id, name)"

    def write(self, command, *args):
        done = subprocess.run([build_dir() / "hudi_writer", command, self.folder, *args], text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def commit(self, ids):
        return self.write("upsert", "--sql", self.rows(ids))

    def ids(self, table):
        return self.cluster.direct.sql(f"SELECT string_agg(id::text, ',' ORDER BY id) FROM public.{table}")

    def wait_for(self, table, ids):
        try:
            wait_until(lambda: self.ids(table) == ids, f"the rows {ids} in {table}")
        except TimeoutError as e:
            raise AssertionError(f"{e}; they are {self.ids(table)}; " + self.cluster.direct.sql(
                "SELECT state, last_log FROM pgveneer.task", user="postgres")) from None
