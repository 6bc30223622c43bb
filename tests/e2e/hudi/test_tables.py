"""Every copy-on-write table of ../shared/data/hudi, as published by the peers that wrote them: in one
run, and commit by commit (hudi_sync_max_commits = 1), the target equals the expected snapshot.

The expected states come from a reference reader (MANIFEST.md there). Where a Hudi table holds a key
twice, the row with the highest ordering value, then commit time, is the target's. Tables whose final
rows are n/a there must be refused. Without the folder the test says so and passes."""
import csv
import decimal
import hashlib
import json
import os
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
    text = h.cluster.direct.psql("-q", "-v", "ON_ERROR_STOP=1", "--csv", "-P", "null=\\N", check=True,
                                 stdin=f"SELECT {select_list(columns)} FROM public.target").stdout
    return list(csv.reader(text.splitlines(keepends=True)))


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
    h.foreign_table("ft", folder, columns)
    declared = ", ".join(f"{name(n)} {t}" for n, t in columns)
    h.sql(f"CREATE TABLE public.target ({declared}, PRIMARY KEY ({', '.join(map(name, key))}))")
    return described, columns


def drop_tables(h, task):
    if task:
        h.sql(f"SELECT pgveneer.pg_task_remove('{task}')")
    h.sql("DROP TABLE IF EXISTS public.target; DELETE FROM hudi.hudi_sync_state", user="postgres")
    if h.sql("SELECT to_regclass('public.ft')"):
        h.sql("CALL pgveneer.drop_foreign_table('[[\"public\", \"ft\"]]', false, false)")


def synchronise(h, title, table, folder, each):
    """Walks the table to its end; calls each() after every run that moved. The number of instants."""
    key = [k for k in table["key"].split(",") if k] or ["_hoodie_record_key"]
    if table["final"] == "0":
        key = key if key != ["_hoodie_record_key"] else ["id"]
    described, columns = make_tables(h, folder, key)
    task = h.submit("public.target", "public.ft")
    try:
        return each(task, described, columns, key)
    finally:
        drop_tables(h, task)


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
            position = h.position("public.target")
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


def check_refused(h, title, folder):
    h.foreign_table("ft", folder, [("id", "integer"), ("v", "text")])
    h.sql("CREATE TABLE public.target (id integer PRIMARY KEY, v text)")
    task = h.submit("public.target", "public.ft")
    h.run(task)
    state, _, log = h.outcome(task)
    equal(state, "suspended", f"state after {log!r}")
    equal(h.sql("SELECT count(*) FROM public.target"), "0", "rows of the target")
    if not log:
        raise AssertionError("no text in last_log")
    drop_tables(h, task)
    return log


def main():
    if not (DATA / "MANIFEST.md").exists():
        print(f"skipped: no test tables in {DATA}")
        return 0
    s = Scenarios("tables")
    counts = {"read": 0, "refused": 0, "instants": 0}
    tables = {t: v for t, v in manifest().items() if v["type"] == "COW"}
    only = sys.argv[1:]
    with Hudi() as h:
        for title, table in tables.items():
            if only and title not in only:
                continue

            def both(title=title, table=table):
                folder = unpack(h, title, table["archive"])
                try:
                    if table["final"] == "n/a":
                        check_refused(h, title, folder)
                        counts["refused"] += 1
                        return
                    check_full(h, title, table, folder)
                    counts["instants"] += check_steps(h, title, table, folder)
                    counts["read"] += 1
                finally:
                    drop_leftovers(h)
                    shutil.rmtree(h.folder / title)
            s.run(title, both)
    done = counts["read"] + counts["refused"]
    print(f"tables: {done} of {len(only) or len(tables)} tables ({counts['read']} read, {counts['refused']} refused as they must be), "
          f"{counts['instants']} instants")
    return s.finish()


def drop_leftovers(h):
    h.sql("DELETE FROM pgveneer.task", user="postgres")
    drop_tables(h, None)


if __name__ == "__main__":
    sys.exit(main())
