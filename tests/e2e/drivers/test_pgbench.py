"""pgbench through pgveneer: initialisation (COPY), each protocol, several connections and threads, own
scripts with pipelines. The number of transactions is fixed, so the tables must come out the same."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, equal, pg_bin  # noqa: E402

CLIENTS, TRANSACTIONS = 8, 50

COMBINED = """
SELECT 1 AS one \\; SELECT 2 AS two \\; INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, 1, 0);
"""

PIPELINE = """
\\set id random(1, 1000)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
\\endpipeline
"""

VARIABLES = """
SELECT max(tid) AS m, count(*) AS n FROM pgbench_tellers \\gset x_
SELECT :x_m = :x_n AS same;
SELECT 2 AS two \\aset y_
\\if :y_two = 2
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler) VALUES (1, 1, 1, :y_two, now(), 'a; b');
\\endif
"""


def pgbench(c, *args):
    done = subprocess.run([pg_bin("pgbench"), *args], env=c.proxy.env(), capture_output=True, text=True,
                          timeout=300)
    if done.returncode != 0:
        raise AssertionError(done.stderr or done.stdout)
    return done.stdout + done.stderr


def initialise(c):
    pgbench(c, "-i", "-s", "2", "-q", "--foreign-keys")
    equal(c.direct.sql("SELECT count(*), sum(abalance) FROM pgbench_accounts"), "200000|0", "accounts")


def run(c, *args):
    before = c.direct.sql("SELECT count(*) FROM pgbench_history")
    out = pgbench(c, "-n", "-c", str(CLIENTS), "-j", "2", "-t", str(TRANSACTIONS), *args)
    equal(re.search(r"actually processed: (\d+)/", out).group(1), str(CLIENTS * TRANSACTIONS), "processed")
    equal(re.search(r"failed transactions: (\d+)", out).group(1), "0", "failed")
    return int(c.direct.sql("SELECT count(*) FROM pgbench_history")) - int(before)


def tpcb(c, protocol):
    equal(run(c, "-M", protocol), CLIENTS * TRANSACTIONS, "rows of history")
    equal(c.direct.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)"),
          "t", "balances and history agree")


def select_only(c, protocol):
    equal(run(c, "-S", "-M", protocol), 0, "rows of history")


def own_script(c, folder, text, protocol, rows):
    path = os.path.join(folder, "script.sql")
    with open(path, "w") as f:
        f.write(text)
    equal(run(c, "-M", protocol, "-f", path), rows, "rows of history")


def main():
    s = Scenarios("pgbench")
    with Cluster() as c:
        c.start_proxy("proxy")
        s.run("initialisation", initialise, c)
        for protocol in ("simple", "extended", "prepared"):
            s.run(f"tpcb-like, {protocol}", tpcb, c, protocol)
            s.run(f"select-only, {protocol}", select_only, c, protocol)
        for protocol in ("simple", "extended", "prepared"):
            s.run(f"results into variables, {protocol}", own_script, c, c.folder, VARIABLES, protocol,
                  CLIENTS * TRANSACTIONS)
        s.run("several statements in one query", own_script, c, c.folder, COMBINED, "simple",
              CLIENTS * TRANSACTIONS)
        for protocol in ("extended", "prepared"):
            s.run(f"pipeline, {protocol}", own_script, c, c.folder, PIPELINE, protocol, 0)
        s.run("a connection for each transaction", run, c, "-C", "-S")
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
