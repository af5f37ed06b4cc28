#include "pipeline/inputs.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/images.h"
#include "output/npz.h"

/* "https://host/v.mp4" */
static bool is_address(const char *path)
{
    size_t length = 0;
    while (isalnum((unsigned char)path[length]) ||
           (length && strchr("+-.", path[length]) && path[length]))
        length++;
    return length > 1 && strncmp(path + length, "://", 3) == 0;
}

static SpStatus check_there(const char *path)
{
    if (access(path, R_OK) == 0)
        return sp_ok();
    const int why = errno;
    if (is_address(path) && strncasecmp(path, "file:", 5) == 0)
        return sp_error(SP_INPUT, "cannot open %.400s: give the file's name without file://", path);
    if (is_address(path))
        return sp_error(SP_INPUT,
                        "cannot open %.400s: spatrack never uses a network; download it and give "
                        "the file",
                        path);
    return sp_error(SP_INPUT, "cannot open %.400s: %s", path, strerror(why));
}

static SpStatus check_file(const char *path)
{
    struct stat info;
    if (!path)
        return sp_ok();
    SP_TRY(check_there(path));
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode)
               ? sp_error(SP_INPUT, "cannot read %.400s: a folder", path)
               : sp_ok();
}

static SpStatus check_video(const char *path)
{
    struct stat info;
    SpImages images = {0};
    SpStatus status = sp_ok();
    if (strcmp(path, "-") == 0)
        return sp_ok();
    const bool exists = stat(path, &info) == 0;
    if (!exists && sp_images_is_pattern(path) && !is_address(path))
        status = sp_images_of_pattern(path, &images);
    else
        status = check_there(path);
    if (status.code == SP_OK && exists && S_ISDIR(info.st_mode))
        status = sp_images_of_folder(path, &images);
    sp_images_free(&images);
    return status;
}

/* A result that is missing is no video whose result would have its name. */
static bool is_missing_result(const char *path)
{
    static const char ending[] = ".npz";
    const size_t length = strlen(path), wanted = strlen(ending);
    return length > wanted && strcmp(path + length - wanted, ending) == 0 &&
           access(path, F_OK) != 0;
}

void sp_job_set_video(SpJob *job, const char *video)
{
    job->video = video;
    job->from_result = sp_npz_begins(video) || is_missing_result(video);
}

SpStatus sp_inputs_check(const SpJob *job)
{
    SP_TRY(check_video(job->video));
    if (job->original)
        SP_TRY(check_video(job->original));
    SP_TRY(check_file(job->geometry));
    SP_TRY(check_file(job->queries));
    return check_file(job->mask);
}
