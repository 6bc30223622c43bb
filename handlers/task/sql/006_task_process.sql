-- Server processes of a job beside the one in its row (work_pid): what is ended when the task is taken over.

CREATE TABLE IF NOT EXISTS pgveneer.task_process (
    task_id       text NOT NULL REFERENCES pgveneer.task ON DELETE CASCADE,
    pid           integer NOT NULL,
    backend_start timestamptz NOT NULL,
    PRIMARY KEY (task_id, pid)
);
