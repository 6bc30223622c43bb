"""objstore against S3-compatible servers that others wrote: s3rver, which is lax, and OpenStack Swift, which checks every
signature. What cannot run here is said and passes."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from cluster import Scenarios, build_dir, equal
from stores import S3rver, Swift

NAMES = [".hoodie/hoodie.properties", ".hoodie/20240101000000.commit", "dt=2024-01-01/hh=05/a_1-0-1_20240101000000.parquet",
         "dt=2024-01-02/a%2Fb+c d&é~.parquet", "plain", "sub/deep/er/x"]
BIG = bytes(range(251)) * 8000


def check(s, kind, folder):
    with kind(folder / kind.__name__) as store:
        client = store.client()
        client.make_bucket("lake")
        for name in NAMES:
            client.put("lake", f"t/{name}", name.encode())
        client.put("lake", "t/big", BIG)
        for i in range(1100):
            if kind is Swift and i >= 40:
                break  # slow to fill; its pages are as short as asked for
            client.put("lake", f"many/p={i % 3}/f{i:04}", b"x")

        def run(*command, **options):
            defaults = {"root": "/lake/t/", "address": f"127.0.0.1:{store.port}", "access_key": store.access_key,
                        "secret_access_key": store.secret, "cache_folder": folder / "cache", "cache_bytes": 1 << 30}
            return subprocess.run([build_dir() / "objstore_probe",
                                   *(f"{k}={v}" for k, v in {**defaults, **options}.items()), *command],
                                  capture_output=True, timeout=60)

        def out(*command, **options):
            done = run(*command, **options)
            if done.returncode != 0:
                raise AssertionError(done.stderr.decode())
            return done.stdout

        @s.scenario(f"{kind.__name__}: folders")
        def _():
            equal(out("list", "").decode().splitlines(),
                  [".hoodie /", f"big {len(BIG)}", "dt=2024-01-01 /", "dt=2024-01-02 /", "plain 5", "sub /"], "root")
            equal(out("list", ".hoodie").decode().splitlines(),
                  [".hoodie/20240101000000.commit 29", ".hoodie/hoodie.properties 25"], "timeline")
            equal(out("list", "dt=2024-01-02").decode().splitlines(), [f"{NAMES[3]} {len(NAMES[3].encode())}"], "partition")
            equal(out("list", "nothing"), b"", "a folder that is not there")

        @s.scenario(f"{kind.__name__}: objects")
        def _():
            for name in NAMES:
                equal(out("read", name), name.encode(), name)
            equal(out("read", "big"), BIG, "a larger one")
            lines = out("fetch", "big", *NAMES).decode().splitlines()
            equal([int(line.split()[1]) for line in lines], [len(BIG), *(len(n.encode()) for n in NAMES)], "fetched")

        @s.scenario(f"{kind.__name__}: a listing of several pages")
        def _():
            count = 1100 if kind is S3rver else 40
            lines = out("list", "", root="/lake/many/").decode().splitlines()
            equal(lines, ["p=0 /", "p=1 /", "p=2 /"], "folders")
            lines = out("list", "p=1", root="/lake/many/").decode().splitlines()
            equal(len(lines), len([i for i in range(count) if i % 3 == 1]), "objects")

        @s.scenario(f"{kind.__name__}: errors")
        def _():
            for sqlstate, command, options in (("58P01", ("read", "nothing"), {}),
                                               ("58P01", ("list", ""), {"root": "/nobucket/t/"}),
                                               ("28P01", ("read", "plain"), {"access_key": "nobody:x"}),
                                               ("28P01", ("read", "plain"), {"secret_access_key": "wrong"})):
                if kind is S3rver and "secret_access_key" in options:
                    continue  # it does not look
                done = run(*command, **options)
                equal((done.returncode, done.stderr.decode()[:5]), (1, sqlstate), done.stderr.decode())


def main():
    s = Scenarios("servers")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgveneer-test-servers-", dir="/var/tmp"))
    try:
        for kind in (S3rver, Swift):
            missing = kind.missing()
            if missing:
                print(f"skipped: {kind.__name__}: {missing}")
                continue
            check(s, kind, folder)
    finally:
        shutil.rmtree(folder)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
