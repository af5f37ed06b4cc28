/*
 * Processes that do the videos of a batch for the one that hands them out, each with models of its
 * own. They end with it, in whatever way it ends, and it outlives them.
 */
#ifndef SP_PIPELINE_WORKERS_H
#define SP_PIPELINE_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

enum { SP_MAX_WORKERS = 1024, SP_MESSAGE_BYTES = 64 << 10 };

/* Zeroed, it has not been started. */
typedef struct SpWorker {
    pid_t pid;
    int fd; /* where messages are sent and answers come */
} SpWorker;

/* What a worker does: it takes messages from `fd` until there are none. */
typedef void SpWorkerMain(void *self, int fd);

/* Starts a process that runs work(self, fd) and exits. When this one dies, it gets SIGTERM. To be
 * called while the process has a single thread. SP_DEVICE when there can be no more processes. */
SpStatus sp_worker_start(SpWorkerMain *work, void *self, SpWorker *worker);

/* Sends or takes a message of at most SP_MESSAGE_BYTES as a whole; false: the other end is gone.
 * *bytes is what was taken. */
bool sp_message_send(int fd, const void *data, size_t bytes);
bool sp_message_take(int fd, void *data, size_t capacity, size_t *bytes);

/* Lets a worker end behind its last message, waits for that and writes how it ended into `how`, ""
 * when as it should: "was killed by signal 9". */
void sp_worker_stop(SpWorker *worker, char how[64]);

/* Ends every worker and waits for them. Async-signal-safe, for the handler of a signal that ends
 * the program. */
void sp_workers_kill(void);

#endif
