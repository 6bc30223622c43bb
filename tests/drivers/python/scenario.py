"""What each Python client of the matrix shares: a program is a module of functions named after the
scenarios of matrix.py. Prints one JSON line for each: {"scenario": …, "saw": …}, or "na" with the
reason where the client cannot do such a thing, or "failed" with the exception."""
import json
import os
import sys
import threading
import time
import traceback

HOST, PORT, USER, PASSWORD, DATABASE = (
    os.environ[name] for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"))
SLEEPS = "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"


class NotApplicable(Exception):
    """The client's interface has no such thing; the text says which."""


def until(condition, what, seconds=60):
    """Waits for a condition of the server, not for a time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)


def cancel_when_asleep(pid, count_sleepers, cancel):
    """Starts a thread that calls cancel() once the backend pid sleeps; count_sleepers runs SQL on a
    connection of its own and returns its number."""
    def work():
        until(lambda: int(count_sleepers(SLEEPS.format(pid=pid))) == 1, "the statement sleeps")
        cancel()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def as_text(value):
    return bytes(value).hex() if isinstance(value, (bytes, memoryview)) else str(value)


def main(functions):
    """functions: name to function, in any order; runs those that the command line names, or all."""
    for name in sys.argv[1:] or functions:
        line = {"scenario": name}
        try:
            if name not in functions:
                raise NotApplicable("no such interface in this client")
            line["saw"] = functions[name]()
        except NotApplicable as e:
            line["na"] = str(e)
        except Exception:  # told to the runner, whatever it is
            line["failed"] = traceback.format_exc(limit=-3)
        print(json.dumps(line, default=as_text, sort_keys=True), flush=True)
