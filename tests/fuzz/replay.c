/* Stands in for libFuzzer in ordinary builds: runs the target once on each file of the folders and
 * files named on the command line, in the order of their names, and on every prefix of the short
 * ones, so that each reader meets every truncation of its corpus. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REPLAY_MAX_BYTES ((size_t)1 << 24)
#define REPLAY_PREFIX_BYTES 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long runs;

/* An exact heap copy each time, so that AddressSanitizer sees a read one byte too far. */
static void run_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(REPLAY_MAX_BYTES);
    if (f == NULL || data == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    size_t size = fread(data, 1, REPLAY_MAX_BYTES, f);
    fclose(f);
    for (size_t n = 0; n < size && size <= REPLAY_PREFIX_BYTES; n++)
        run_copy(data, n);
    run_copy(data, size);
    free(data);
    return 0;
}

static int replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay_file(file);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0 || !S_ISDIR(st.st_mode) ? replay_file(argv[i])
                                                            : replay_folder(argv[i]))
            return 1;
    }
    printf("%lu inputs\n", runs);
    return 0;
}
