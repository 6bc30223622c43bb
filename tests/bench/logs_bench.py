#!/usr/bin/env python3
"""Merge-on-read tables: how fast log files are read, and what a run costs when few of many file groups changed.

    logs_bench.py [ROWS]     rows of log files, default 500000; PGVENEER_BUILD names the build folder

  log files   first run over a table whose rows stand in Avro blocks alone, until they are in PostgreSQL
  few of many a table of 1,000 file groups; commits that write log files into 10 of them, against the same
              commits on a table of 10 groups. What the first costs more is reading names, not files.
CPU is that of the job process and its threads, without the server's."""
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from hudi_sync import Hudi, duckdb_library
from mor_table import Group, MorTable

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
MANY, FEW, ROUNDS = 1000, 10, 5
COLUMNS = [("id", "bigint"), ("p", "text"), ("ts", "bigint"), ("v", "text"), ("n", "double precision")]


class Table(MorTable):
    """One partition, whose groups are all there from the start: a key's hash names its group."""

    def group_of(self, key, partition, fresh):
        if not self.groups:
            self.groups = [Group(partition) for _ in range(self.groups_each)]
            fresh += self.groups
        return self.groups[hash(key) % len(self.groups)]


def row(i, tag):
    return {"id": i, "p": "a", "ts": i, "v": f"{tag} value {i}", "n": i / 4}


def make_task(h, name):
    h.foreign_table(f"ft_{name}", name, COLUMNS)
    declared = ", ".join(f"{c} {t}" for c, t in COLUMNS)
    h.sql(f"CREATE TABLE public.{name} ({declared}, PRIMARY KEY (id))")
    return h.submit(f"public.{name}", f"public.ft_{name}")


def run(h, task):
    """Seconds on the clock, seconds of CPU, data files that were opened."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(h.job_command(task), capture_output=True, text=True, check=True)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    state, failures, log = h.outcome(task)
    if failures:
        raise AssertionError(log)
    opened = re.search(r"opened (\d+) data files", done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, int(opened.group(1))


def log_files(h):
    table = Table(h.folder / "logs", duckdb_library(), groups=4)
    table.commit([row(i, "log") for i in range(ROWS)], base=False)
    task = make_task(h, "logs")
    wall, cpu, opened = run(h, task)
    print(f"log files: {ROWS} rows in {opened} files: {wall:.1f} s, {ROWS / wall / 1e6:.2f} million rows/s; "
          f"CPU {cpu:.1f} s, {ROWS / cpu / 1e6:.2f} million rows/s of one core")


def few_of(h, groups):
    """Median run after commits that change FEW of the groups."""
    name = f"of{groups}"
    table = Table(h.folder / name, duckdb_library(), groups=groups)
    table.commit([row(i, "base") for i in range(groups * 5)], base=True)
    task = make_task(h, name)
    first = run(h, task)
    keys = [next(iter(g.rows)) for g in table.groups[:FEW]]
    runs = []
    for n in range(ROUNDS):
        table.commit([row(k, f"round {n}") for k in keys])
        runs.append(run(h, task))
    median = sorted(runs, key=lambda r: r[1])[ROUNDS // 2]
    return first, median


def main():
    with Hudi() as h:
        h.write_config(log_level="debug")
        log_files(h)
        for groups in (FEW, MANY):
            first, (wall, cpu, opened) = few_of(h, groups)
            print(f"{FEW} of {groups} groups changed: {wall * 1000:.0f} ms, CPU {cpu * 1000:.0f} ms, {opened} files opened "
                  f"(first run: {first[0] * 1000:.0f} ms, CPU {first[1] * 1000:.0f} ms, {first[2]} files)")


if __name__ == "__main__":
    main()
