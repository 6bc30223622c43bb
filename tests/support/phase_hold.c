/* Preloaded into workers by kill tests: a job process that names a phase (job_phase gives it to the
 * process as its name, by prctl) is held there as long as the file hold.<phase> exists in the folder
 * $PHASE_HOLD. So a test can aim at a phase that lasts a millisecond, on a machine of any load. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void hold(const char *phase)
{
    char path[512];
    const char *folder = getenv("PHASE_HOLD");
    if (folder == NULL)
        return;
    snprintf(path, sizeof path, "%s/hold.%s", folder, phase);
    while (access(path, F_OK) == 0)
        usleep(500);
}

int prctl(int option, ...)
{
    unsigned long args[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++)
        args[i] = va_arg(list, unsigned long);
    va_end(list);
    int result = (int)syscall(SYS_prctl, option, args[0], args[1], args[2], args[3]);
    const char *name = (const char *)args[0];
    if (option == PR_SET_NAME && strncmp(name, "pgv:", 4) == 0)
        hold(name + 4);
    return result;
}
