"""Plans against the truth, on tables that hudi_writer makes: random commits, deletes, overwrites,
clusterings, cleanings, archivals, rollbacks and hollow commits; two models of a target follow the table
at different speeds (hudi_writer check), and after each plan they must equal the table's snapshot."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

WRITER = pathlib.Path(os.environ["PGVENEER_BUILD"]) / "hudi_writer"
STEPS = int(os.environ.get("PGVENEER_PLAN_STEPS", "20"))
TABLES = [(1, []), (2, ["--hive-style"]), (1, ["--no-meta"]), (2, ["--no-meta", "--codec", "zstd"])]


def rows(rng, step, partition=None):
    ids = rng.sample(range(60), rng.randint(1, 12))
    part = f"'{partition}'" if partition else f"'p' || ((i * 7 + {rng.randint(0, 1)}) % 3)"
    values = ", ".join(f"({i})" for i in ids)
    return f"select i as id, {part} as p, {step} as ts, 'v{step}_' || i as v from (values {values}) t(i)"


class Table:
    def __init__(self, folder, seed, layout, options):
        self.rng = random.Random(seed)
        self.folder, self.dir, self.step, self.hollow = folder, folder / "t", 0, None
        self.seen, self.kinds = [], set()
        self.run("create", "--name", "t", "--key", "id", "--partition", "p", "--ordering", "ts",
                 "--layout", str(layout), "--groups", "2", *options,
                 "--sql", "select i as id, 'p' || (i % 3) as p, 0 as ts, 'v0_' || i as v from range(40) r(i)")

    def run(self, command, *args):
        if command != "check":  # a rollback needs files that a cleaning may have taken
            self.newest_is_whole = command not in ("clean", "rollback", "archive")
        result = subprocess.run([WRITER, command, self.dir, *args], capture_output=True, text=True)
        self.seen.append(f"{command} {' '.join(args)}")
        if result.returncode != 0:
            sys.exit("\n".join(self.seen) + "\n" + result.stderr)
        return result.stdout

    def begin_hollow(self):
        if self.hollow is None:
            self.hollow = self.run("begin").strip()

    def finish_hollow(self):
        if self.hollow is not None:
            self.run("upsert", "--time", self.hollow, "--sql", rows(self.rng, self.step, "h"))
            self.hollow = None

    def rollback(self):
        if self.hollow is None and self.newest_is_whole:
            self.run("rollback")

    def archive(self):  # as Hudi does: not before the files of replaced groups are cleaned
        if self.hollow is None:
            self.run("clean", "--keep", "1")
            self.run("archive", "--keep", str(self.rng.randint(2, 4)))

    def change(self):
        self.step += 1
        rng, choice = self.rng, self.rng.random()
        if self.hollow is not None and rng.random() < 0.3:
            self.finish_hollow()
        if choice < 0.35:
            self.run("upsert", "--sql", rows(rng, self.step), "--groups", str(rng.randint(1, 3)),
                     *(["--global"] if rng.random() < 0.5 else []))
        elif choice < 0.55:
            ids = rng.sample(range(60), rng.randint(1, 6))
            self.run("delete", "--keys-sql", f"select unnest({ids}) as id")
        elif choice < 0.63:
            self.run("insert-overwrite", "--sql", rows(rng, self.step, f"p{rng.randint(0, 2)}"))
        elif choice < 0.66:
            self.run("insert-overwrite", "--table", "--sql", rows(rng, self.step))
        elif choice < 0.69:
            self.run("delete-partition", "--partition-path", "h")
        elif choice < 0.78:
            self.run("cluster", "--groups", str(rng.randint(1, 2)))
        else:
            rng.choice([self.begin_hollow, self.finish_hollow, self.rollback, self.archive,
                        lambda: self.run("clean", "--keep", str(rng.randint(1, 3)))])()

    def check(self, model, keep):
        for line in self.run("check", "--name", str(self.folder / model), "--keep", str(keep)).splitlines():
            self.kinds.add(line.split()[0])
            self.seen.append("    " + line)

    def follow(self):
        for _ in range(STEPS):
            self.change()
            if self.rng.random() < 0.5:
                self.check("quick", self.rng.choice([0, 1, 2]))
            if self.rng.random() < 0.2:
                self.check("slow", self.rng.choice([0, 1, 3]))
        self.finish_hollow()
        self.check("quick", 0)
        self.check("slow", 1)


def main():
    seed = int(os.environ.get("PGVENEER_PLAN_SEED", "1"))
    kinds = set()
    for number, (layout, options) in enumerate(TABLES):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pgveneer_plans_"))
        table = Table(folder, seed * 100 + number, layout, options)
        table.follow()
        kinds |= table.kinds
        print(f"layout {layout} {' '.join(options)}: {table.step} changes followed, plans {sorted(table.kinds)}")
        shutil.rmtree(folder)
    if not {"full", "changes", "reconcile"} <= kinds:
        sys.exit(f"only these kinds of plans were tried: {sorted(kinds)}")


main()
