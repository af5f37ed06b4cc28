#define _GNU_SOURCE

#include "pipeline/batch.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "output/lock.h"
#include "pipeline/files.h"
#include "pipeline/list.h"
#include "pipeline/video.h"
#include "pipeline/workers.h"

enum { SECOND_LOOK = 1 }; /* seconds, in which a process that was killed is gone */

/* A video to be done, and where its result goes if the list says so. */
typedef struct Item {
    char *video;  /* owned; NULL: there is none */
    char *output; /* owned, or NULL */
    bool listed;
    bool again; /* it has been handed out before */
} Item;

/* Items, all owned. */
typedef struct Items {
    Item *item;
    int count;
} Items;

/* What a worker sends when it starts on nothing more. */
typedef struct Answer {
    SpStatus status;
    SpOutcome outcome;
} Answer;

/* A worker and what it does. */
typedef struct Slot {
    SpWorker worker;
    Item item; /* none: it is idle, or not started */
} Slot;

typedef struct Batch {
    const SpJob *job;
    SpConsole *console;
    const char *const *video; /* of the command line */
    int count, taken;
    SpList list;
    char *entry;        /* of the list, owned */
    const char *output; /* a view in it, or NULL */
    SpNames folder;     /* the videos that it stands for, */
    int of_folder;      /* of which so many are taken */
    SpPlaces places;
    Items later;  /* what did not fit beside others, or others were doing */
    Items second; /* of these, what is handed out once all others are done, */
    int of_second;
    bool crowded;  /* something did not fit */
    bool stopped;  /* by --fail-fast */
    bool reported; /* a worker has been started that says which weights are used */
    int jobs, threads;
    size_t memory; /* that there is for all jobs */
    int done, skipped, left, failed;
    double began;
} Batch;

static void free_item(Item *item)
{
    free(item->video);
    free(item->output);
    *item = (Item){0};
}

static SpStatus make_item(const char *video, const char *output, bool listed, Item *item)
{
    *item = (Item){strdup(video), output ? strdup(output) : NULL, listed, false};
    if (item->video && (item->output || !output))
        return sp_ok();
    free_item(item);
    return sp_no_memory("the names");
}

static SpJob job_of(const Batch *batch, const Item *item)
{
    SpJob job = *batch->job;
    job.listed = item->listed;
    if (item->output)
        job.output = item->output;
    sp_job_set_video(&job, item->video);
    return job;
}

/* The next entry of the list that has come, of a folder its videos one after another. */
static SpStatus take_listed(Batch *batch, Item *item)
{
    const char *output;
    bool folder;
    if (batch->of_folder >= batch->folder.count) {
        free(batch->entry);
        sp_names_free(&batch->folder);
        batch->of_folder = 0;
        SP_TRY(sp_list_take(&batch->list, &batch->entry, &output));
        if (!batch->entry)
            return sp_ok();
        batch->output = output;
        SP_TRY(sp_names_add_videos(&batch->folder, batch->entry, &folder));
        if (folder && output && output[strlen(output) - 1] != '/') { /* one file for all */
            sp_names_free(&batch->folder);
            SP_TRY(sp_names_add(&batch->folder, batch->entry));
        }
    }
    return make_item(batch->folder.name[batch->of_folder++], batch->output, true, item);
}

/* The next video of this shard that is known by now; none: item->video is NULL. */
static SpStatus take(Batch *batch, Item *item)
{
    do {
        free_item(item);
        if (batch->of_second < batch->second.count) {
            *item = batch->second.item[batch->of_second++];
            return sp_ok();
        }
        if (batch->taken < batch->count)
            SP_TRY(make_item(batch->video[batch->taken++], NULL, false, item));
        else if (batch->job->list)
            SP_TRY(take_listed(batch, item));
    } while (item->video && batch->job->shards &&
             !sp_in_shard(item->video, batch->job->shard, batch->job->shards));
    return sp_ok();
}

/* Whether more may come that is not known yet. */
static bool may_come(const Batch *batch)
{
    return batch->job->list && !batch->list.ended;
}

/* Whether there is one report of all videos. */
static bool has_report(const SpJob *job)
{
    return job->several && !job->plan && job->report && job->report[strlen(job->report) - 1] != '/';
}

/* A line in the report of all. */
static void report_failure(const Batch *batch, const Item *item, const SpStatus *status)
{
    const SpReport report = {.program_version = SP_VERSION,
                             .settings_json = batch->job->settings,
                             .input = item->video,
                             .error = status->text,
                             .status = (int)status->code};
    if (!has_report(batch->job))
        return;
    const SpStatus written = sp_report_append(batch->job->report, &report);
    if (written.code != SP_OK)
        sp_console_warn(batch->console, "%s", written.text);
}

/* Counts a video and says what there is to say of it. */
static void count_video(Batch *batch, const Item *item, const SpStatus *status, SpOutcome outcome)
{
    const SpJob *job = batch->job;
    int *count = status->code != SP_OK           ? &batch->failed
                 : outcome == SP_OUTCOME_SKIPPED ? &batch->skipped
                 : outcome == SP_OUTCOME_LEFT    ? &batch->left
                                                 : &batch->done;
    ++*count;
    if (!job->several)
        return;
    batch->stopped |= status->code != SP_OK && job->fail_fast;
    batch->console->video = item->video;
    if (status->code != SP_OK)
        sp_console_warn(batch->console, "%s", status->text);
    else if (outcome != SP_OUTCOME_DONE)
        sp_console_note(batch->console, outcome == SP_OUTCOME_LEFT
                                            ? "left to the process that is doing it"
                                            : "done before");
    batch->console->video = NULL;
    if (status->code != SP_OK)
        report_failure(batch, item, status);
}

/* Looks at a video's names before it runs, where not all are known beforehand. *again: it has come
 * before. */
static SpStatus admit(Batch *batch, const Item *item, bool *again)
{
    const SpJob job = job_of(batch, item);
    const char *const video = item->video;
    *again = false;
    if (!batch->job->list || job.plan)
        return sp_ok();
    if (strcmp(video, "-") == 0 || (item->output && strcmp(item->output, "-") == 0))
        return sp_error(SP_USAGE, "standard input and output are not for the videos of a list");
    SP_TRY(sp_files_admit(&job, &batch->places, again));
    return item->listed && !*again ? sp_files_apart(&job, &video, 1) : sp_ok();
}

/* The next video, once it is known; item->video is NULL behind the last. */
static SpStatus wait_for_item(Batch *batch, Item *item)
{
    SP_TRY(take(batch, item));
    while (!item->video && may_come(batch)) {
        SP_TRY(sp_list_read(&batch->list));
        SP_TRY(take(batch, item));
    }
    return sp_ok();
}

/* A single video, or plans, in this process. *last: how the last one ended. */
static SpStatus run_here(Batch *batch, SpStatus *last)
{
    SpModels models;
    Item item = {0};
    SpStatus status = sp_ok();
    *last = sp_ok();
    sp_models_init(&models, batch->job, batch->console);
    while (!batch->stopped && (status = wait_for_item(batch, &item)).code == SP_OK && item.video) {
        SpOutcome outcome;
        const SpJob job = job_of(batch, &item);
        *last = sp_video_run(&job, &models, batch->console, &outcome);
        count_video(batch, &item, last, outcome);
    }
    free_item(&item);
    sp_models_close(&models);
    return status;
}

static SpStatus put_off(Items *items, Item *item)
{
    Item *grown = realloc(items->item, (size_t)(items->count + 1) * sizeof *grown);
    if (!grown)
        return sp_no_memory("the names");
    items->item = grown;
    items->item[items->count++] = *item;
    *item = (Item){0};
    return sp_ok();
}

static void free_items(Items *items)
{
    for (int i = 0; i < items->count; i++)
        free_item(&items->item[i]);
    free(items->item);
    *items = (Items){0};
}

static void work(void *self, int fd);

/* Sends a message to a worker, which is started where there is none or it has died. */
static SpStatus send_whole(Batch *batch, SpWorker *worker, const char *message, size_t bytes)
{
    char how[64];
    if (worker->pid && sp_message_send(worker->fd, message, bytes))
        return sp_ok();
    sp_worker_stop(worker, how);
    SP_TRY(sp_worker_start(work, batch, worker));
    batch->reported = true;
    return sp_message_send(worker->fd, message, bytes)
               ? sp_ok()
               : sp_error(SP_DEVICE, "cannot hand it to another process");
}

/* A message is the item's mark, its video and its output, each text with its NUL. */
static SpStatus send_item(Batch *batch, Slot *slot)
{
    const Item *item = &slot->item;
    const char *output = item->output ? item->output : "";
    const size_t video_bytes = strlen(item->video) + 1, output_bytes = strlen(output) + 1;
    static char message[SP_MESSAGE_BYTES];
    if (1 + video_bytes + output_bytes > sizeof message)
        return sp_error(SP_USAGE, "the name is too long");
    message[0] = item->listed;
    memcpy(message + 1, item->video, video_bytes);
    memcpy(message + 1 + video_bytes, output, output_bytes);
    return send_whole(batch, &slot->worker, message, 1 + video_bytes + output_bytes);
}

/* What a worker of `jobs` has of memory and threads. */
static SpJob share_of(const Batch *batch)
{
    SpJob job = *batch->job;
    const int jobs = batch->jobs;
    if (jobs == 1)
        return job;
    job.threads = batch->threads / jobs > 1 ? batch->threads / jobs : 1;
    job.share = jobs;
    job.host_memory = batch->memory / (size_t)jobs;
    job.vram_budget = job.vram_budget ? job.vram_budget / jobs + 1 : 0;
    return job;
}

/* Does video after video, each as it is handed over. */
static void work(void *self, int fd)
{
    Batch *batch = self;
    static char message[SP_MESSAGE_BYTES], lines[SP_MESSAGE_BYTES];
    size_t bytes;
    SpModels models;
    const SpJob shared = share_of(batch);
    sp_list_close(&batch->list);
    setvbuf(batch->console->stream, lines, _IOLBF, sizeof lines); /* lines stay whole */
    if (batch->jobs > 1)
        batch->console->terminal = false; /* no bar among the lines of others */
    batch->job = &shared;
    sp_models_init(&models, &shared, batch->console);
    models.reported_lite = models.reported_lite_sam = models.reported = batch->reported;
    while (sp_message_take(fd, message, sizeof message, &bytes)) {
        char *video = message + 1, *output = video + strlen(video) + 1;
        const Item item = {video, *output ? output : NULL, message[0], false};
        Answer answer;
        const SpJob job = job_of(batch, &item);
        batch->console->video = video;
        answer.status = sp_video_run(&job, &models, batch->console, &answer.outcome);
        if (!sp_message_send(fd, &answer, sizeof answer))
            break;
    }
    sp_models_close(&models);
}

/* Hands the next video out, if there is one by now; *any: there was. */
static SpStatus hand_out(Batch *batch, Slot *slot, bool *any)
{
    Item item = {0};
    bool again = false;
    SP_TRY(take(batch, &item));
    *any = item.video;
    if (!*any)
        return sp_ok();
    SpStatus status = item.again ? sp_ok() : admit(batch, &item, &again);
    if (status.code != SP_OK || again) {
        count_video(batch, &item, &status, SP_OUTCOME_SKIPPED);
        free_item(&item);
        return sp_ok();
    }
    slot->item = item;
    status = send_item(batch, slot);
    if (status.code != SP_OK) {
        count_video(batch, &slot->item, &status, SP_OUTCOME_DONE);
        free_item(&slot->item);
    }
    return sp_ok();
}

/* A worker that died leaves a lock and maybe a temporary behind. */
static void clean_up(const Batch *batch, const Item *item)
{
    SpRunFile *files = malloc(SP_FILE_ROLES * sizeof *files);
    const SpJob job = job_of(batch, item);
    SpLock lock = {0};
    bool is_free;
    if (files && sp_files_name(&job, files).code == SP_OK && *sp_files_lock_name(files) &&
        sp_lock_take(sp_files_lock_name(files), &lock, &is_free).code == SP_OK)
        sp_lock_release(&lock);
    free(files);
}

/* Takes a worker's answer, or that it is no more. */
static SpStatus hear(Batch *batch, Slot *slot)
{
    Answer answer;
    size_t bytes;
    char how[64];
    Item *item = &slot->item;
    if (!sp_message_take(slot->worker.fd, &answer, sizeof answer, &bytes)) {
        sp_worker_stop(&slot->worker, how);
        clean_up(batch, item);
        answer = (Answer){sp_error(SP_DEVICE, "the process that did it %s", how), SP_OUTCOME_DONE};
    }
    const bool crowded = answer.status.code == SP_MEMORY && batch->jobs > 1;
    const bool left = answer.status.code == SP_OK && answer.outcome == SP_OUTCOME_LEFT &&
                      batch->job->skip_done && !item->again;
    batch->crowded |= crowded;
    if (crowded || left) {
        item->again = true;
        return put_off(&batch->later, item);
    }
    count_video(batch, item, &answer.status, answer.outcome);
    free_item(item);
    return sp_ok();
}

/* Waits until there is an answer, or more of the list where a slot is idle. */
static SpStatus wait_for_news(Batch *batch, Slot *slots, bool idle)
{
    struct pollfd *ends = calloc((size_t)batch->jobs + 1, sizeof *ends);
    SpStatus status = ends ? sp_ok() : sp_no_memory("the processes");
    for (int i = 0; ends && i < batch->jobs; i++)
        ends[i] = (struct pollfd){slots[i].item.video ? slots[i].worker.fd : -1, POLLIN, 0};
    const bool more = idle && !batch->stopped && may_come(batch);
    if (ends) {
        ends[batch->jobs] = (struct pollfd){more ? batch->list.fd : -1, POLLIN, 0};
        (void)!poll(ends, (nfds_t)batch->jobs + 1, -1);
    }
    for (int i = 0; status.code == SP_OK && i < batch->jobs; i++)
        if (ends[i].revents)
            status = hear(batch, &slots[i]);
    if (status.code == SP_OK && ends[batch->jobs].revents)
        status = sp_list_read(&batch->list);
    free(ends);
    return status;
}

/* Hands out and listens until nothing is to be done. */
static SpStatus run_slots(Batch *batch, Slot *slots)
{
    for (;;) {
        bool busy = false, idle = false, any = true;
        for (int i = 0; i < batch->jobs; i++) {
            while (!slots[i].item.video && any && !batch->stopped)
                SP_TRY(hand_out(batch, &slots[i], &any));
            busy |= slots[i].item.video != NULL;
            idle |= slots[i].item.video == NULL;
        }
        if (!busy && (batch->stopped || !may_come(batch)))
            return sp_ok();
        SP_TRY(wait_for_news(batch, slots, idle));
    }
}

/* As many videos side by side as there are jobs. */
static SpStatus run_beside(Batch *batch)
{
    Slot *slots = calloc((size_t)batch->jobs, sizeof *slots);
    batch->memory = sp_memory_available();
    SpStatus status = slots ? run_slots(batch, slots) : sp_no_memory("the processes");
    for (int i = 0; slots && i < batch->jobs; i++) {
        char how[64];
        sp_worker_stop(&slots[i].worker, how);
        free_item(&slots[i].item);
    }
    free(slots);
    return status;
}

/* All, then what had to wait: with half as many jobs, and so on, where it did not fit. */
static SpStatus run_all(Batch *batch)
{
    SP_TRY(run_beside(batch));
    while (batch->later.count && !batch->stopped) {
        free(batch->second.item); /* all of them are handed out */
        batch->second = batch->later;
        batch->later = (Items){0};
        batch->of_second = 0;
        if (!batch->crowded)
            sleep(SECOND_LOOK);
        batch->jobs = batch->crowded ? batch->jobs / 2 : batch->jobs;
        batch->crowded = false;
        SP_TRY(run_beside(batch));
    }
    return sp_ok();
}

/* On the CPU a thread does most where it works on a video of its own. */
static void choose_jobs(Batch *batch)
{
    const SpJob *job = batch->job;
    cpu_set_t set;
    const int processors = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    batch->threads = job->threads ? (int)job->threads : processors;
    batch->jobs = job->jobs                            ? (int)job->jobs
                  : sp_devices_expect_gpu(job->device) ? 1
                  : batch->threads > SP_MAX_WORKERS    ? SP_MAX_WORKERS
                                                       : batch->threads;
    if (!job->list && batch->count < batch->jobs)
        batch->jobs = batch->count ? batch->count : 1;
}

/* What came of all, as one line. */
static SpStatus sum_up(const Batch *batch)
{
    const int all = batch->done + batch->skipped + batch->left + batch->failed;
    char text[200];
    int length = snprintf(text, sizeof text, "%d done", batch->done);
    if (batch->skipped)
        length += snprintf(text + length, sizeof text - (size_t)length, ", %d done before",
                           batch->skipped);
    if (batch->left)
        length += snprintf(text + length, sizeof text - (size_t)length, ", %d left to others",
                           batch->left);
    snprintf(text + length, sizeof text - (size_t)length, ", %.1f s", sp_clock() - batch->began);
    if (batch->failed)
        return sp_error(SP_SOME_FAILED, "%d of %d video%s failed; %s", batch->failed, all,
                        all == 1 ? "" : "s", text);
    if (!batch->job->plan)
        sp_console_note(batch->console, "%d video%s: %s", all, all == 1 ? "" : "s", text);
    return sp_ok();
}

SpStatus sp_batch_run(const SpJob *job, const char *const *videos, int count, SpConsole *console)
{
    Batch batch = {
        .job = job, .console = console, .video = videos, .count = count, .began = sp_clock()};
    SP_TRY(sp_files_apart(job, videos, count));
    if (has_report(job))
        SP_TRY(sp_report_check_append(job->report));
    if (job->list)
        SP_TRY(sp_list_open(job->list, job->null, &batch.list));
    choose_jobs(&batch);
    SpStatus last = sp_ok();
    const SpStatus status = job->several && !job->plan ? run_all(&batch) : run_here(&batch, &last);
    sp_list_close(&batch.list);
    sp_names_free(&batch.folder);
    free(batch.entry);
    sp_places_free(&batch.places);
    free_items(&batch.later);
    while (batch.of_second < batch.second.count)
        free_item(&batch.second.item[batch.of_second++]);
    free(batch.second.item);
    return status.code != SP_OK ? status : job->several ? sum_up(&batch) : last;
}
