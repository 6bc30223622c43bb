#!/usr/bin/env python3
"""How fast a Hudi table arrives in PostgreSQL, compared with COPY … FROM STDIN (FORMAT binary) of the same
rows into a like table with the same index.

    sync_bench.py [ROWS]         default 5000000; PGVENEER_BUILD names the build folder

  direct    first run into an empty table, loaded directly: with one reader (hudi_readers), and with two, as
            all that follows
  staging   first run into a table with a trigger, through the staging table
  upsert    a commit that touches 10 % of the rows, spread over all file groups, against COPY of these
            10 % into an empty table
Times are from the start of the job process to its end, so that process start, the reading of the
timeline and the library's start count. Goals: direct 0.7, staging and upsert 0.4; memory 512 MiB."""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from hudi_sync import Hudi

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
GROUPS = 10
COLUMNS = [("id", "bigint"), ("name", "text"), ("city", "text"), ("amount", "numeric(12,2)"), ("quantity", "integer"),
           ("price", "double precision"), ("active", "boolean"), ("day", "date"), ("at", "timestamptz"), ("note", "text")]


def rows_sql(where, tag):
    return f"""SELECT i::BIGINT AS id, '{tag} customer ' || i AS name, 'city ' || (i % 5000) AS city,
        ((i * 7919) % 10000000 / 100.0)::DECIMAL(12,2) AS amount, (i % 1000)::INTEGER AS quantity,
        sqrt(i)::DOUBLE AS price, i % 3 = 0 AS active, DATE '2020-01-01' + (i % 2000)::INTEGER AS day,
        TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL (i) SECOND AS at,
        'note number ' || (i * 31 % 1000003) || ' of the benchmark' AS note
        FROM range({ROWS}) t(i) WHERE {where}"""


def create(h, table):
    h.sql(f"CREATE TABLE public.{table} ({', '.join(f'{n} {t}' for n, t in COLUMNS)}, PRIMARY KEY (id))")


def settle(h):
    h.sql("CHECKPOINT", user="postgres")


def psql(h, text):
    h.cluster.direct.psql("-q", "-v", "ON_ERROR_STOP=1", stdin=text, timeout=3600, check=True)


def seconds_of_copy(h, path, table):
    create(h, table)
    settle(h)
    start = time.monotonic()
    psql(h, f"\\copy public.{table} FROM '{path}' (FORMAT binary)\n")
    return time.monotonic() - start


def run_job(h, task, readers=2):
    """Seconds and peak memory in MiB of one run."""
    h.write_config(hudi_readers=readers)
    settle(h)
    args = h.job_command(task)
    start = time.monotonic()
    process = subprocess.Popen(args)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    state = h.outcome(task)
    if process.returncode != 0 or state[:2] != ("active", 0):
        sys.exit(f"run failed: {process.returncode} {state}")
    return seconds, usage.ru_maxrss / 1024


def report(name, rows, seconds, baseline, memory):
    print(f"{name:17} {rows:9} rows  {seconds:7.2f} s  {rows / seconds:9.0f} rows/s   COPY {baseline:7.2f} s "
          f"{rows / baseline:9.0f} rows/s   ratio {baseline / seconds:4.2f}   memory {memory:4.0f} MiB", flush=True)


def main():
    with Hudi(settings={"shared_buffers": "512MB", "max_wal_size": "16GB", "checkpoint_timeout": "1h"}) as h:
        print(f"making a Hudi table of {ROWS} rows in {GROUPS} file groups", flush=True)
        h.writer("create", "t", "--key", "id", "--ordering", "at", "--groups", GROUPS, "--sql", rows_sql("true", "first"))
        h.foreign_table("ft", "t", COLUMNS)
        create(h, "alone")
        create(h, "direct")
        create(h, "staging")
        h.sql("""CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER nothing AFTER TRUNCATE ON public.staging EXECUTE FUNCTION public.nothing()""")
        alone = run_job(h, h.submit("public.alone", "public.ft"), readers=1)
        h.sql("DROP TABLE public.alone")
        first = h.submit("public.direct", "public.ft")
        direct = run_job(h, first)
        all_rows, some_rows = h.folder / "all.copy", h.folder / "some.copy"
        psql(h, f"\\copy public.direct TO '{all_rows}' (FORMAT binary)\n")
        copy_all = min(seconds_of_copy(h, all_rows, "copy_a"), seconds_of_copy(h, all_rows, "copy_b"))
        h.sql("DROP TABLE public.copy_a, public.copy_b")
        report("direct, 1 reader", ROWS, alone[0], copy_all, alone[1])
        report("direct, 2 readers", ROWS, direct[0], copy_all, direct[1])
        staging = run_job(h, h.submit("public.staging", "public.ft"))
        report("staging", ROWS, staging[0], copy_all, staging[1])
        h.sql("DROP TABLE public.staging")
        h.writer("upsert", "t", "--sql", rows_sql("i % 10 = 3", "second"))
        upsert = run_job(h, first)
        psql(h, f"\\copy (SELECT * FROM public.direct WHERE name LIKE 'second%') TO '{some_rows}' (FORMAT binary)\n")
        copy_some = seconds_of_copy(h, some_rows, "copy_c")
        report("upsert", len(range(3, ROWS, 10)), upsert[0], copy_some, upsert[1])
        assert h.history(first) == [ROWS, len(range(3, ROWS, 10))], h.history(first)


if __name__ == "__main__":
    main()
