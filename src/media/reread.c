#include "media/reread.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/spool.h"

static const double SAME_TIME = 1e-3; /* seconds */

enum { HELD = 2 }; /* frames: one is looked at, one decoded */

/* Where it is no file, a name that stands for something else, or nothing at all, reading tells. */
static bool is_pipe(const char *video)
{
    struct stat info;
    return stat(video, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

bool sp_reread_is_free(const char *video)
{
    return strcmp(video, "-") == 0 ? lseek(STDIN_FILENO, 0, SEEK_CUR) >= 0 : !is_pipe(video);
}

SpStatus sp_reread_check(const char *video, const char *flag)
{
    if (video && strcmp(video, "-") == 0)
        return sp_spool_stdin();
    if (video && is_pipe(video))
        return sp_error(SP_USAGE,
                        "%.300s: not a regular file, but --%s reads the video twice; "
                        "use standard input: spatrack - < %.100s",
                        video, flag, video);
    return sp_ok();
}

static SpStatus changed(const SpReread *what)
{
    return what->clip->result
               ? sp_error(SP_INPUT, "%.200s: its frames are not those of %.200s", what->video,
                          what->clip->result)
               : sp_error(SP_INPUT,
                          "%.300s: its frames changed between the first and the second reading",
                          what->video);
}

/* A reader of frames that were read before. */
typedef struct Again {
    const SpReread *what;
    SpReader *reader;
    double start; /* of the clip's first frame on the reader's clock, seconds */
} Again;

/* Frames on their way from the thread that decodes them to the one that looks at them. */
typedef struct Queue {
    const SpReread *what;
    Again again;
    uint8_t *rgb[HELD]; /* frame t lies in t % HELD */

    /* Under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t decoded, seen; /* frames */
    bool stops;            /* nobody looks any more */
    SpStatus status;       /* of decoding */
} Queue;

static bool is_wanted(const SpReread *what, int64_t t)
{
    return !what->wants || what->wants(what->self, t);
}

/* Whether the frame is the clip's number t, by its number and, as far as that is known, its time.
 */
static bool is_frame(Again *again, int64_t t, const SpFrameInfo *info)
{
    const SpClip *clip = again->what->clip;
    if (t == 0)
        again->start = info->timestamp;
    return info->index == clip->index[t] &&
           (clip->timeless || fabs(info->timestamp - again->start -
                                   (clip->timestamps[t] - clip->timestamps[0])) < SAME_TIME);
}

/* rgb NULL: the frame is passed over. */
static SpStatus decode(Again *again, int64_t t, uint8_t *rgb)
{
    SpFrameInfo info;
    bool end;
    do {
        SP_TRY(sp_reader_next(again->reader, rgb, &info, &end));
        if (end)
            return changed(again->what);
    } while (info.index < again->what->clip->index[t]);
    /* A frame that came out whole at first may not do so now; nobody knows what a result's did. */
    const bool worse =
        !again->what->clip->result && sp_reader_damage(again->reader) > again->what->clip->damage;
    return is_frame(again, t, &info) && !worse ? sp_ok() : changed(again->what);
}

static SpStatus decode_into(Queue *queue, int64_t t)
{
    return decode(&queue->again, t, is_wanted(queue->what, t) ? queue->rgb[t % HELD] : NULL);
}

static void *decode_all(void *argument)
{
    Queue *queue = argument;
    SpStatus status = sp_ok();
    for (int64_t t = 0; t < queue->what->frames && status.code == SP_OK; t++) {
        pthread_mutex_lock(&queue->lock);
        while (t >= queue->seen + HELD && !queue->stops)
            pthread_cond_wait(&queue->changed, &queue->lock);
        const bool stops = queue->stops;
        pthread_mutex_unlock(&queue->lock);
        if (stops)
            break;
        status = decode_into(queue, t);
        pthread_mutex_lock(&queue->lock);
        queue->decoded += status.code == SP_OK;
        queue->status = status;
        pthread_cond_signal(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
    }
    return NULL;
}

/* Waits for frame t. */
static SpStatus wait_for(Queue *queue, int64_t t)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->decoded <= t && queue->status.code == SP_OK)
        pthread_cond_wait(&queue->changed, &queue->lock);
    const SpStatus status = queue->decoded > t ? sp_ok() : queue->status;
    pthread_mutex_unlock(&queue->lock);
    return status;
}

static SpStatus look_at_all(Queue *queue)
{
    const SpReread *what = queue->what;
    for (int64_t t = 0; t < what->frames; t++) {
        SP_TRY(wait_for(queue, t));
        if (is_wanted(what, t))
            SP_TRY(what->each(what->self, t, queue->rgb[t % HELD]));
        pthread_mutex_lock(&queue->lock);
        queue->seen++;
        pthread_cond_signal(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
        sp_progress(what->progress, (double)(t + 1), (double)what->frames);
    }
    return sp_ok();
}

/* Where there is no thread to be had, which costs time alone. */
static SpStatus one_by_one(Queue *queue)
{
    const SpReread *what = queue->what;
    for (int64_t t = 0; t < what->frames; t++) {
        SP_TRY(decode_into(queue, t));
        if (is_wanted(what, t))
            SP_TRY(what->each(what->self, t, queue->rgb[t % HELD]));
        sp_progress(what->progress, (double)(t + 1), (double)what->frames);
    }
    return sp_ok();
}

static SpStatus run(Queue *queue)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, decode_all, queue) != 0)
        return one_by_one(queue);
    const SpStatus status = look_at_all(queue);
    pthread_mutex_lock(&queue->lock);
    queue->stops = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    pthread_join(thread, NULL);
    return status;
}

size_t sp_reread_bytes(int64_t height, int64_t width)
{
    return (HELD + 1) * (size_t)(3 * height * width); /* one in the reader's scaler */
}

/* With the reader open. */
static SpStatus read_frames(const Again *again)
{
    const SpFramePlan *plan = &again->what->clip->plan;
    const int64_t bytes = 3 * plan->input_height * plan->input_width;
    Queue queue = {.what = again->what,
                   .again = *again,
                   .lock = PTHREAD_MUTEX_INITIALIZER,
                   .changed = PTHREAD_COND_INITIALIZER};
    uint8_t *rgb = malloc((size_t)(HELD * bytes));
    if (!rgb)
        return sp_no_memory("a frame");
    for (int i = 0; i < HELD; i++)
        queue.rgb[i] = rgb + i * bytes;
    const SpStatus status = run(&queue);
    free(rgb);
    return status;
}

static SpStatus open_again(const SpReread *what, Again *again)
{
    const SpFramePlan *plan = &what->clip->plan;
    *again = (Again){.what = what};
    if (strcmp(what->video, "-") == 0)
        SP_TRY(sp_spool_rewind());
    SP_TRY(sp_reader_open(what->video, &what->settings, &again->reader));
    const SpVideoInfo now = sp_reader_video(again->reader);
    if (now.height == plan->input_height && now.width == plan->input_width)
        return sp_ok();
    sp_reader_close(again->reader);
    return changed(what);
}

SpStatus sp_reread(const SpReread *what)
{
    Again again;
    SP_TRY(open_again(what, &again));
    const SpStatus status = read_frames(&again);
    sp_reader_close(again.reader);
    return status;
}

struct SpRereader {
    SpReread what;
    Again again;
    uint8_t *rgb;
};

SpStatus sp_rereader_open(const SpReread *what, SpRereader **out)
{
    const SpFramePlan *plan = &what->clip->plan;
    SpRereader *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r || !(r->rgb = malloc((size_t)(3 * plan->input_height * plan->input_width)))) {
        free(r);
        return sp_no_memory("a frame");
    }
    r->what = *what;
    const SpStatus status = open_again(&r->what, &r->again);
    if (status.code == SP_OK) {
        *out = r;
        return status;
    }
    free(r->rgb);
    free(r);
    return status;
}

void sp_rereader_close(SpRereader *r)
{
    if (!r)
        return;
    sp_reader_close(r->again.reader);
    free(r->rgb);
    free(r);
}

SpStatus sp_rereader_next(SpRereader *r, int64_t t, uint8_t **rgb)
{
    *rgb = r->rgb;
    return decode(&r->again, t, r->rgb);
}

bool sp_reread_beside(const char *video)
{
    return strcmp(video, "-") != 0;
}
