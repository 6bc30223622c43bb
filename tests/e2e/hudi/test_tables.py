"""Every table of ../shared/data/hudi, as published by the peers that wrote them: in one run, and commit
by commit (hudi_sync_max_commits = 1), the target equals the expected snapshot.

The expected states come from a reference reader (MANIFEST.md there). Where a Hudi table holds a key
twice, the row with the highest ordering value, then commit time, is the target's. Tables whose final
rows are n/a there must be refused. Each step from one commit to the next is a change window that ends in
an expected state; wider windows of the collection (expected/…/incr_…) are stepped over as well. Two
tables at a time. Without the folder the test says so and passes."""
import collections
import concurrent.futures
import csv
import decimal
import hashlib
import io
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
import pathlib

from cluster import ROOT, Scenarios, equal
from hudi_sync import Hudi, name, quote

DATA = pathlib.Path(os.environ.get("PGVENEER_HUDI_DATA", ROOT / "../shared/data/hudi"))
LANES = 2
META = ["_hoodie_commit_time", "_hoodie_record_key", "_hoodie_partition_path"]


def manifest():
    """Rows of the big table, and the snapshots with counts and sums of each table's section."""
    tables = {}
    text = (DATA / "MANIFEST.md").read_text()
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) == 9 and cells[2] in ("COW", "MOR"):
            tables[cells[0]] = {"archive": cells[1], "type": cells[2], "key": cells[5],
                                "ordering": cells[6].split(";")[0], "final": cells[8], "snapshots": []}
    for part in re.split(r"^### ", text, flags=re.M)[1:]:
        found = re.search(r"^Snapshots \(.*?\): (.*)$", part, flags=re.M)
        if found and part.split("\n", 1)[0] in tables:
            for item in found.group(1).rstrip(".").split("; "):
                words = item.split()
                md5 = words[-1] if words[-2] == "md5" else None
                rows = int(words[-3] if md5 else words[-1])
                tables[part.split("\n", 1)[0]]["snapshots"].append((words[0].split("_")[0], words[0], rows, md5))
    return tables


def unpack(h, title, archive):
    file, inside = (p.strip() for p in archive.split(" : "))
    folder = h.folder / title
    folder.mkdir()
    source = DATA / "tables" / file
    if file.endswith(".zip"):
        zipfile.ZipFile(source).extractall(folder)
    else:
        tarfile.open(source).extractall(folder)
    Hudi.open_up(folder)
    return folder if inside == "(zip root)" else folder / inside


def js_number(value):
    """Shortest form, as the expected files have it."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e" in text and abs(value) >= 1e-6:
        return format(decimal.Decimal(text), "f")
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{'-' if exponent[0] == '-' else '+'}{int(exponent.lstrip('+-'))}"
    return text


def normal(value, kind):
    """A value of the target or of an expected file, so that both can be compared."""
    if value is None or value == "\\N":
        return None
    if kind in ("real", "double precision"):
        return js_number(float(value))
    if kind == "jsonb":
        # The expected files give nested timestamps six digits always.
        value = re.sub(r'(\d\d:\d\d:\d\d)\.000000(")', r"\1\2", value)
        return json.dumps(json.loads(value), sort_keys=True)
    if kind in ("timestamp", "timestamptz"):
        return re.sub(r"\+00$", "", value) if "." in value else re.sub(r"\+00$", "", value) + ".000000"
    if kind == "text" and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", value):
        return value.rstrip("0").rstrip(".") # a column that is a timestamp in some files only
    if kind == "boolean":
        return {"t": "true", "f": "false"}.get(value, value)
    return value


def select_list(columns):
    out = []
    for n, kind in columns:
        if kind == "timestamptz":
            out.append(f"to_char({name(n)} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS {name(n)}")
        elif kind == "timestamp":
            out.append(f"to_char({name(n)}, 'YYYY-MM-DD HH24:MI:SS.US') AS {name(n)}")
        else:
            out.append(name(n))
    return ", ".join(out)


def read_target(h, columns):
    text = io.StringIO(newline="")
    query = f"SELECT {select_list(columns)} FROM public.target{h.lane}"
    with h.connection("app").cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, NULL '\\N')", text)
    text.seek(0)
    return list(csv.reader(text))


def read_expected(path):
    with open(path, newline="") as f:
        return list(csv.reader(f))


def as_number(text):
    try:
        return (1, float(text))
    except (TypeError, ValueError):
        return (0, text or "")


def winners(rows, header, key, ordering):
    best = {}
    for row in rows:
        r = dict(zip(header, row))
        rank = ([as_number(r[o]) for o in ordering if o in r], r.get("_hoodie_commit_time", ""))
        k = tuple(r[c] for c in key)
        if k not in best or best[k][0] < rank:
            best[k] = (rank, row)
    return [row for _, row in best.values()]


def compare(h, title, table, snapshot, columns, key):
    instant, full, count, md5 = snapshot
    got = read_target(h, columns)
    header, rows = got[0], got[1:]
    if md5:
        equal(len(rows), count, f"rows at {instant}")
        return compare_md5(header, rows, columns, key, md5, instant)
    path = DATA / "expected" / title / f"snapshot_{instant}.csv"
    expected = read_expected(path)
    kinds = dict(columns)
    equal(sorted(expected[0]), sorted(header), "columns")
    want = winners(expected[1:], expected[0], key, table["ordering"].split(","))
    order = [expected[0].index(c) for c in header]
    want = sorted([normal(r[i], kinds[c]) or "" for c, i in zip(header, order)] for r in want)
    have = sorted([normal(v, kinds[c]) or "" for c, v in zip(header, r)] for r in rows)
    if want != have:
        missing = [r for r in want if r not in have][:3]
        extra = [r for r in have if r not in want][:3]
        raise AssertionError(f"at {instant}: {len(have)} rows, expected {len(want)}; "
                             f"missing {missing}, not expected {extra} of {header}")


def compare_md5(header, rows, columns, key, md5, instant):
    kinds = dict(columns)
    has_meta = "_hoodie_record_key" in header and rows[0][header.index("_hoodie_record_key")] != "\\N"
    order = [c for c in META if c in header] + [c for c in header if c not in META]
    lines = []
    for row in rows:
        r = {c: normal(v, kinds[c]) for c, v in zip(header, row)}
        fields = []
        for c in order:
            v = r[c]
            if v is None:
                fields.append("\\N")
            elif v == "" or any(x in v for x in ',"\n\r'):
                fields.append('"' + v.replace('"', '""') + '"')
            else:
                fields.append(v)
        lines.append((r["_hoodie_record_key" if has_meta else key[0]].encode(), ",".join(fields)))
    body = "".join(line + "\n" for line in [",".join(order)] + [line for _, line in sorted(lines)])
    equal(hashlib.md5(body.encode()).hexdigest(), md5, f"md5 at {instant}")


def make_tables(h, folder, key):
    described = h.describe(folder)
    columns = [tuple(c) for c in described["columns"]]
    if not columns: # no file at all: any definition will do
        columns = [(k, "integer") for k in key] + [("v", "text")]
    h.foreign_table(f"ft{h.lane}", folder, columns)
    declared = ", ".join(f"{name(n)} {t}" for n, t in columns)
    h.sql(f"CREATE TABLE public.target{h.lane} ({declared}, PRIMARY KEY ({', '.join(map(name, key))}))")
    return described, columns


def drop_tables(h):
    """Whatever a table left of this lane."""
    h.sql(f"DELETE FROM pgveneer.task WHERE params->>'target' = 'public.target{h.lane}'; "
          f"DELETE FROM hudi.hudi_sync_state WHERE target_oid = to_regclass('public.target{h.lane}'); "
          f"DROP TABLE IF EXISTS public.target{h.lane}", user="postgres")
    if h.sql(f"SELECT to_regclass('public.ft{h.lane}')"):
        h.sql(f"CALL pgveneer.drop_foreign_table('[[\"public\", \"ft{h.lane}\"]]', false, false)")


def synchronise(h, title, table, folder, each):
    """Walks the table to its end; calls each() after every run that moved. The number of instants."""
    key = [k for k in table["key"].split(",") if k] or ["_hoodie_record_key"]
    if table["final"] == "0":
        key = key if key != ["_hoodie_record_key"] else ["id"]
    described, columns = make_tables(h, folder, key)
    task = h.submit(f"public.target{h.lane}", f"public.ft{h.lane}")
    try:
        return each(task, described, columns, key)
    finally:
        drop_tables(h)


def check_full(h, title, table, folder):
    def each(task, described, columns, key):
        log = h.run_well(task)
        if table["snapshots"] and table["final"] != "0":
            compare(h, title, table, table["snapshots"][-1], columns, key)
        equal(log, "", "last_log")
    h.write_config()
    synchronise(h, title, table, folder, each)


def check_steps(h, title, table, folder):
    def each(task, described, columns, key):
        reached = []
        for _ in range(len(table["snapshots"]) + 1):
            h.run_well(task)
            position = h.position(f"public.target{h.lane}")
            if not position or (reached and reached[-1] == position):
                break
            reached.append(position)
            snapshot = next((s for s in table["snapshots"] if s[0] == position), None)
            if snapshot is None:
                raise AssertionError(f"{position} is no instant of the table")
            if table["final"] != "0":
                compare(h, title, table, snapshot, columns, key)
        equal(reached, [s[0] for s in table["snapshots"]], "instants reached")
        return len(reached)
    h.write_config(hudi_sync_max_commits=1)
    return synchronise(h, title, table, folder, each)


def wide_windows(title, table):
    """(commits of the first state, commits of the window) of the collection's windows over several."""
    order = [s[0] for s in table["snapshots"]]
    windows = []
    for file in sorted((DATA / "expected" / title).glob("incr_*.csv")):
        c1, c2 = file.stem.split("_")[1:3]
        if c1 in order and order.index(c2) - order.index(c1) > 1:
            windows.append((order.index(c1) + 1, order.index(c2) - order.index(c1)))
    return windows


def check_windows(h, title, table, folder):
    """Steps over several commits at once."""
    def each(task, described, columns, key):
        for first, more in windows:
            h.sql(f"TRUNCATE public.target{h.lane}; DELETE FROM hudi.hudi_sync_state "
                  f"WHERE target_oid = 'public.target{h.lane}'::regclass", user="postgres")
            for limit, last in ((first, first), (more, first + more)):
                h.write_config(hudi_sync_max_commits=limit)
                h.run_well(task)
                equal(h.position(f"public.target{h.lane}"), table["snapshots"][last - 1][0], "instant reached")
            compare(h, title, table, table["snapshots"][first + more - 1], columns, key)
        return len(windows)
    windows = wide_windows(title, table)
    return synchronise(h, title, table, folder, each) if windows else 0


def check_refused(h, title, folder):
    h.foreign_table(f"ft{h.lane}", folder, [("id", "integer"), ("v", "text")])
    h.sql(f"CREATE TABLE public.target{h.lane} (id integer PRIMARY KEY, v text)")
    task = h.submit(f"public.target{h.lane}", f"public.ft{h.lane}")
    h.run(task)
    state, _, log = h.outcome(task)
    equal(state, "suspended", f"state after {log!r}")
    equal(h.sql(f"SELECT count(*) FROM public.target{h.lane}"), "0", "rows of the target")
    if not log:
        raise AssertionError("no text in last_log")
    drop_tables(h)
    return log


def check_table(h, title, table, counts):
    folder = unpack(h, title, table["archive"])
    try:
        if table["final"] == "n/a":
            check_refused(h, title, folder)
            counts["refused"] += 1
            return
        check_full(h, title, table, folder)
        steps = check_steps(h, title, table, folder)
        windows = check_windows(h, title, table, folder)
        counts["instants"] += steps
        counts["windows"] += max(steps - 1, 0) + windows
        counts["read"] += 1
    finally:
        drop_tables(h)
        shutil.rmtree(h.folder / title)


def main():
    if not (DATA / "MANIFEST.md").exists():
        print(f"skipped: no test tables in {DATA}")
        return 0
    s = Scenarios("tables")
    counts = collections.Counter()
    tables = {t: v for t, v in manifest().items() if len(sys.argv) == 1 or t in sys.argv[1:]}
    todo = queue.SimpleQueue()
    for item in sorted(tables.items(), key=lambda i: -len(i[1]["snapshots"])):
        todo.put(item)

    def work(lane):
        try:
            while True:
                title, table = todo.get_nowait()
                s.run(title, check_table, lane, title, table, counts)
        except queue.Empty:
            lane.close_lane()

    with Hudi() as h:
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            list(pool.map(work, [h.new_lane(n) for n in range(LANES)]))
    done = counts["read"] + counts["refused"]
    print(f"tables: {done} of {len(tables)} ({counts['read']} read, {counts['refused']} refused as they must be), "
          f"{counts['instants']} instants and {counts['windows']} change windows checked")
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
