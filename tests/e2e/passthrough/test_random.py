"""Random conversations, vendor statements among them: through pgveneer the client gets what the server
answers directly to the same conversation with our names. A conversation is made from its seed:

    test_random.py [first seed [count]]
"""
import os
import random
import sys

from cluster import Cluster, Scenarios
from rawpg import B, C, D, E, H, P, Q, S, X, Raw, data, done, fail, kinds
from test_vendor import COUNT, PAUSE, SHOW, Spelled, comparable, join

OWN = ["SELECT 1", "SELECT $1::int", "SELECT 1/0", "SELEC", "", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a",
       "ROLLBACK TO a", "INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", "SELECT n FROM generate_series(1, 3) n",
       "SET application_name = 'x'", "SELECT 1/$1::int", "DO $$BEGIN RAISE NOTICE 'n'; END$$", "DISCARD ALL",
       "COPY t TO STDOUT", "LISTEN x", "SET search_path = public"]
VENDOR = [COUNT, COUNT, SHOW, PAUSE, "SELECT count(*) FROM pg_task_show($1)", "SELECT pg_task_show(1, 2)",
          f"SELECT 1; {COUNT}; SELECT 2", f"BEGIN; {PAUSE}", f"ROLLBACK; {COUNT}", f"DECLARE c CURSOR FOR {COUNT}"]
NAMES = ["", "", "a", "b"]


def conversation(r):
    """Segments of messages."""
    messages = []
    for _ in range(r.randint(3, 30)):
        text = r.choice(VENDOR if r.random() < 0.3 else OWN)
        kind = r.choice("QQPPPPBBBBEEEEDCSSSHcdXyy")
        if kind == "Q":
            messages.append(Q(text))
        elif kind == "P":
            messages.append(P(r.choice(NAMES), text))
        elif kind == "B":
            values = r.choice([[], [], ["1"], ["0"], ["x"], ["SQLonHudi"], [None]])
            messages.append(B(r.choice(NAMES), r.choice(NAMES), values, result_formats=r.choice([[], [0], [1]])))
        elif kind == "E":
            messages.append(E(r.choice(NAMES), r.choice([0, 0, 0, 1, 2])))
        elif kind == "D":
            messages.append(D(r.choice("SP"), r.choice(NAMES)))
        elif kind == "C":
            messages.append(C(r.choice("SP"), r.choice(NAMES)))
        elif kind == "S":
            messages.append(S())
        elif kind == "H":
            messages.append(H())
        elif kind == "c":
            messages.append(r.choice([done(), fail()]))
        elif kind == "d":
            messages.append(data(b"1\n"))
        elif kind == "y":  # a whole cycle, as drivers send it
            messages.append(join(P("", text), B(), D(), E(), S()))
        elif r.random() < 0.1:  # a COPY with all its data
            copy = r.choice([join(Q("COPY t FROM STDIN"), data(b"7\n"), done()),
                             join(P("", "COPY t FROM STDIN"), B(), E(), S(), data(r.choice([b"7\n", b"bad\n"])), done(), S())])
            messages.append(copy)
    messages += [S(), Q("ROLLBACK"), Q("SELECT count(*) FROM t"), X()]
    segments = []
    while messages:
        n = r.randint(1, 12)
        segments.append(join(*messages[:n]))
        messages = messages[n:]
    return segments


def answers(kind, endpoint, segments, piece):
    with kind(endpoint.host, endpoint.port, "app", piece=piece) as c:
        c.login()
        c.query("CREATE TEMP TABLE t (n int)")
        for segment in segments:
            c.send(segment)
        return comparable(c.until_closed())


def compare(cluster, seed):
    r = random.Random(seed)
    segments = conversation(r)
    piece = r.choice([None, None, None, 1, 5, 64])
    want = answers(Spelled, cluster.direct, segments, None)
    got = answers(Raw, cluster.proxy, segments, piece)
    if got == want:
        return
    at = next((n for n, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    raise AssertionError(f"seed {seed}, pieces of {piece}, answer {at}:\n{[g[0] for g in got]}\n{[w[0] for w in want]}\n"
                         f"got  {got[at:at + 2]}\nwant {want[at:at + 2]}\nsent {segments}")


def main():
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else int(os.environ.get("PGVENEER_RANDOM_RUNS", "200"))
    s = Scenarios("random conversations")
    with Cluster() as cluster:
        cluster.start_proxy("proxy")
        cluster.proxy.sql(COUNT)

        @s.scenario(f"seeds {first} to {first + count - 1}")
        def _():
            for seed in range(first, first + count):
                compare(cluster, seed)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
