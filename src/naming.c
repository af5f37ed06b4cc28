#include "naming.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

SpStatus sp_name_result(const SpJob *job, char name[SP_NAME_ROOM])
{
    int length;
    if (job->output) {
        length = snprintf(name, SP_NAME_ROOM, "%s", job->output);
    } else {
        size_t end = strlen(job->video), stem;
        while (end > 1 && job->video[end - 1] == '/')
            end--;
        for (stem = end; stem > 0 && job->video[stem - 1] != '.' && job->video[stem - 1] != '/';)
            stem--;
        /* "a/b.mp4" loses its end; "a/.hidden" and "a.d/b" have none */
        const bool has_end = stem > 1 && job->video[stem - 1] == '.' && job->video[stem - 2] != '/';
        stem = has_end ? stem - 1 : end;
        length = snprintf(name, SP_NAME_ROOM, "%.*s.npz", (int)stem, job->video);
    }
    if (length < 0 || (size_t)length >= SP_NAME_ROOM)
        return sp_error(SP_USAGE, "the result's name is longer than %d characters", SP_NAME_ROOM);
    if (strcmp(name, job->video) == 0)
        return sp_error(SP_USAGE, "%.400s: the result would replace the video; name it with -o",
                        name);
    if (job->report && strcmp(name, job->report) == 0)
        return sp_error(SP_USAGE, "%.400s: --report would replace the result; name another file",
                        name);
    if (job->no_clobber && access(name, F_OK) == 0)
        return sp_error(SP_OUTPUT, "%.400s exists; --no-clobber keeps it", name);
    return sp_ok();
}
