#!/usr/bin/env python3
"""What the capture of changes costs writers while a rebuild copies: four of them on a table with a primary key and three
indexes, with the triggers and without, in turns.

    capture_bench.py [PAIRS] [SECONDS] [ROWS]   default 5 pairs of 5 s each, 300000 rows; PGVENEER_BUILD names the build folder

A rebuild that is suspended behind get_src_table_snapshot goes on capturing; without one there are no triggers. Transactions
per second depend on what else the machine does, CPU time of the server per transaction does much less."""
import os
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import pg_bin, server_user, wait_until
from engine import children
from rebuild import Rebuild

PAIRS, SECONDS, ROWS = (int(sys.argv[n]) if len(sys.argv) > n else d for n, d in ((1, 5), (2, 5), (3, 300000)))
SETTINGS = {"fsync": "on", "shared_buffers": "256MB", "autovacuum": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}
SCHEMA = f"""
CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c timestamptz DEFAULT now(), n int NOT NULL DEFAULT 0);
CREATE INDEX ON t (a); CREATE INDEX ON t (b); CREATE INDEX ON t (c);
INSERT INTO t (id, a, b) SELECT i, i, md5(i::text) FROM generate_series(1, {ROWS}) i;
CREATE SEQUENCE ids START {ROWS + 1};
"""
LOADS = {
    "update": f"\\set i random(1, {ROWS})\nUPDATE t SET n = n + 1 WHERE id = :i;\n",
    "mixed": f"""\\set i random(1, {ROWS})
\\set kind random(1, 100)
\\if :kind <= 70
UPDATE t SET n = n + 1, a = :i WHERE id = :i;
\\elif :kind <= 85
INSERT INTO t (id, a, b) VALUES (nextval('ids'), :i, 'new');
\\else
DELETE FROM t WHERE id = :i;
\\endif
"""}


def server_cpu(r):
    """Of all server processes that have ended, in seconds; those of clients are waited for."""
    server = r.cluster.postgres.process.pid

    def titles():
        for child in children(server):
            try:
                yield pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
            except OSError:
                pass
    wait_until(lambda: not any(not t or t.startswith(b"postgres: app app") for t in titles()), "no client is left")
    stat = pathlib.Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(stat[13]) + int(stat[14])) / os.sysconf("SC_CLK_TCK")


def load(r, name, late):
    """(microseconds that a transaction takes a client, server CPU microseconds of a transaction)"""
    folder, before = r.cluster.folder, server_cpu(r)
    done = subprocess.run([pg_bin("pgbench"), "-n", "-f", folder / f"{name}.sql", "-M", "prepared", "-c", "4", "-T", str(SECONDS),
                           f"host=127.0.0.1 port={r.cluster.postgres.port} user=app password=app dbname=app "
                           f"options='-c synchronous_commit={'off' if late else 'on'}'"],
                          capture_output=True, text=True, cwd=folder, **server_user())
    assert done.returncode == 0, done.stderr
    count = int(re.search(r"processed: (\d+)", done.stdout).group(1))
    return 4e6 * SECONDS / count, 1e6 * (server_cpu(r) - before) / count


def captured(r, name, late):
    # as many slices as there are MB: it is suspended before it can be over
    id = r.submit("ASYNC REBUILD TABLE t WITH (rebuild_guc_hg_rebuild_slice_mb = 1) SET (fillfactor = 100)")
    wait_until(lambda: r.admin(f"SELECT status FROM hologres.rebuild_step WHERE query_id = '{id}' AND step = 'get_src_table_snapshot'") == "done",
               "the triggers are there", every=0.002)
    r.sql(f"SUSPEND '{id}'")
    wait_until(lambda: r.admin(f"SELECT lease_until IS NULL FROM pgveneer.task WHERE task_id = '{id}'") == "t", "the job has ended")
    assert r.admin("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tmp\\_rebuild%'") == "4", "no triggers"
    figures = load(r, name, late)
    assert int(r.admin(f"SELECT count(*) FROM hologres.rebuild_log_{id}")) > 0, "nothing was logged"
    r.sql(f"CALL hg_clean_rebuild_tmp_tables('{id}')")
    return figures


def main():
    with Rebuild(settings=SETTINGS) as r:
        r.sql(SCHEMA)
        for name, text in LOADS.items():
            (r.cluster.folder / f"{name}.sql").write_text(text)
        for name in LOADS:
            for late in (True, False):
                ratios, plain, with_capture = [], [], []
                for pair in range(PAIRS):
                    order = (load, captured) if pair % 2 == 0 else (captured, load)
                    figures = {}
                    for run in order:
                        r.admin("VACUUM t")
                        figures[run] = run(r, name, late)
                    plain.append(figures[load])
                    with_capture.append(figures[captured])
                    ratios.append([b / a - 1 for a, b in zip(figures[load], figures[captured])])
                time, cpu = (statistics.median(x[i] for x in ratios) * 100 for i in (0, 1))
                us = [statistics.median(x[i] for x in xs) for i in (0, 1) for xs in (plain, with_capture)]
                print(f"{name}, synchronous_commit {'off' if late else 'on'}: a transaction {us[0]:.0f} us, with capture {us[1]:.0f}: "
                      f"{time:+.0f} % ({', '.join(f'{x[0] * 100:+.0f}' for x in ratios)}); server CPU {us[2]:.0f} us, {us[3]:.0f}: {cpu:+.0f} %", flush=True)


main()
