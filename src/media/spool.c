#define _GNU_SOURCE

#include "media/spool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/scratch.h"

static off_t start; /* standard input belongs to the process, and so does this */

/* Copies until the end. 0 or an errno; *reading: whether it ended at reading. */
static int copy(int from, int to, int *reading)
{
    static char buffer[1 << 16];
    for (;;) {
        const ssize_t got = TEMP_FAILURE_RETRY(read(from, buffer, sizeof buffer));
        *reading = got <= 0;
        if (got <= 0)
            return got < 0 ? errno : 0;
        for (ssize_t put, done = 0; done < got; done += put) {
            put = TEMP_FAILURE_RETRY(write(to, buffer + done, (size_t)(got - done)));
            if (put < 0)
                return errno;
        }
    }
}

static SpStatus cannot_spool(const char *folder, int why)
{
    return sp_error(SP_OUTPUT, "cannot keep the video from the pipe in %.300s: %s; set TMPDIR",
                    folder, strerror(why));
}

SpStatus sp_spool_stdin(void)
{
    const char *folder;
    int reading = 0;
    start = lseek(STDIN_FILENO, 0, SEEK_CUR);
    if (start >= 0)
        return sp_ok();
    start = 0; /* of the file that takes the pipe's place */
    const int file = sp_scratch_open(NULL, &folder);
    if (file < 0)
        return cannot_spool(folder, errno);
    int why = copy(STDIN_FILENO, file, &reading);
    if (!why && dup2(file, STDIN_FILENO) < 0)
        why = errno;
    close(file);
    if (why && reading)
        return sp_error(SP_INPUT, "cannot read the pipe: %s", strerror(why));
    return why ? cannot_spool(folder, why) : sp_spool_rewind();
}

SpStatus sp_spool_rewind(void)
{
    if (lseek(STDIN_FILENO, start, SEEK_SET) < 0)
        return sp_error(SP_INPUT, "cannot read standard input again: %s", strerror(errno));
    return sp_ok();
}
