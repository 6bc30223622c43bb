/* Starting a job process, and understanding how it ended.
 *
 * The configuration goes through a sealed memfd that the child inherits as -c /dev/fd/N: it may hold a
 * password, and a command line shows in ps, an environment in /proc/PID/environ.
 *
 * A job must not outlive its worker, which alone would notice its end: the kernel sends it SIGTERM when
 * the worker dies (PR_SET_PDEATHSIG; the check of getppid closes the gap before it is set). The job
 * then rolls back and gives its lease back, so another worker goes on at once. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/job_main.h"

#define PROCESS_EXIT_NO_EXEC 127

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0)
            return false;
        data += n;
        bytes -= (size_t)n;
    }
    return true;
}

int process_config_open(const char *config, struct err *err)
{
    int fd = memfd_create("pgveneer job configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && write_all(fd, config, strlen(config)) &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    err_set_errno(err, errno, "could not make the configuration of the jobs");
    if (fd >= 0)
        close(fd);
    return -1;
}

/* In the child: from here on only async-signal-safe calls. */
NORETURN static void become_job(const char *program, char *const *argv, int config_fd, pid_t worker)
{
    sigset_t none;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != worker)
        _exit(JOB_EXIT_SETTLED);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    fcntl(config_fd, F_SETFD, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(program, argv);
    _exit(PROCESS_EXIT_NO_EXEC);
}

bool process_start(struct process *p, const char *program, int config_fd, const char *dbname,
                   const struct claim *claim, struct err *err)
{
    char config[32];
    char fencing[24];
    char task_id[sizeof claim->task_id];
    char name[sizeof p->dbname];
    char *const argv[] = {(char[]){"pgveneer"},
                          (char[]){"job"},
                          (char[]){"-c"},
                          config,
                          (char[]){"--dbname"},
                          name,
                          (char[]){"--task-id"},
                          task_id,
                          (char[]){"--fencing"},
                          fencing,
                          NULL};
    pid_t worker = getpid();
    snprintf(config, sizeof config, "/dev/fd/%d", config_fd);
    snprintf(fencing, sizeof fencing, "%" PRId64, claim->fencing);
    snprintf(task_id, sizeof task_id, "%s", claim->task_id);
    snprintf(name, sizeof name, "%s", dbname);
    pid_t pid = fork();
    if (pid < 0)
        return err_set_errno(err, errno, "could not start a job process");
    if (pid == 0)
        become_job(program, argv, config_fd, worker);
    memset(p, 0, sizeof *p);
    p->state = PROCESS_RUNNING;
    p->pid = pid;
    p->claim = *claim;
    memcpy(p->dbname, name, sizeof name);
    return true;
}

void process_on_end(struct process *p, int status, int64_t now_ms)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    p->ended_ms = now_ms;
    p->crash[0] = '\0';
    /* Without the server nothing can be freed now; the lease ends by itself. */
    if (code == JOB_EXIT_SETTLED || code == JOB_EXIT_NO_DATABASE) {
        p->state = PROCESS_FREE;
        return;
    }
    p->state = PROCESS_ENDED;
    if (p->told_to_stop)
        return;
    if (code < 0)
        snprintf(p->crash, sizeof p->crash, "job process ended by signal %d", WTERMSIG(status));
    else if (code == PROCESS_EXIT_NO_EXEC)
        snprintf(p->crash, sizeof p->crash, "job process could not be started");
    else
        snprintf(p->crash, sizeof p->crash, "job process ended with exit code %d", code);
}
