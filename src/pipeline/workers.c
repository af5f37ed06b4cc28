#include "pipeline/workers.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Fixed memory, because a signal handler reads it; 0: free. The descriptors are those of this end.
 */
static struct {
    atomic_int pid;
    int fd;
} all[SP_MAX_WORKERS];

/* What the process has from the one it came from and does not need: its workers, which it must not
 * end, and its ends of their sockets, without which they would not see it die. */
static void forget_others(void)
{
    for (int i = 0; i < SP_MAX_WORKERS; i++)
        if (atomic_exchange(&all[i].pid, 0))
            close(all[i].fd);
}

static int find(pid_t pid)
{
    for (int i = 0; i < SP_MAX_WORKERS; i++)
        if (atomic_load(&all[i].pid) == pid)
            return i;
    return -1;
}

SpStatus sp_worker_start(SpWorkerMain *work, void *self, SpWorker *worker)
{
    int ends[2];
    sigset_t every, before;
    const pid_t parent = getpid();
    const int slot = find(0);
    if (slot < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return sp_error(SP_DEVICE, "cannot start another process: %s", strerror(errno));
    sigfillset(&every);
    sigprocmask(SIG_BLOCK, &every,
                &before); /* a signal finds the worker in the table or not begun */
    const pid_t pid = fork();
    if (pid == 0) {
        forget_others();
        close(ends[0]);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (getppid() == parent)
            work(self, ends[1]);
        _exit(0);
    }
    const int error = errno;
    if (pid > 0) {
        all[slot].fd = ends[0];
        atomic_store(&all[slot].pid, pid);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return sp_error(SP_DEVICE, "cannot start another process: %s; use fewer with --jobs",
                        strerror(error));
    }
    *worker = (SpWorker){pid, ends[0]};
    return sp_ok();
}

bool sp_message_send(int fd, const void *data, size_t bytes)
{
    ssize_t sent;
    do
        sent = send(fd, data, bytes, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)bytes;
}

bool sp_message_take(int fd, void *data, size_t capacity, size_t *bytes)
{
    ssize_t taken;
    do
        taken = recv(fd, data, capacity, 0);
    while (taken < 0 && errno == EINTR);
    *bytes = taken > 0 ? (size_t)taken : 0;
    return taken > 0;
}

void sp_worker_stop(SpWorker *worker, char how[64])
{
    int status = 0;
    how[0] = 0;
    if (!worker->pid)
        return;
    close(worker->fd);
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
        ;
    const int slot = find(worker->pid);
    if (slot >= 0)
        atomic_store(&all[slot].pid, 0);
    if (WIFSIGNALED(status))
        snprintf(how, 64, "was killed by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        snprintf(how, 64, "ended with status %d", WEXITSTATUS(status));
    *worker = (SpWorker){0};
}

void sp_workers_kill(void)
{
    const int saved = errno;
    for (int i = 0; i < SP_MAX_WORKERS; i++)
        if (atomic_load(&all[i].pid)) {
            kill(atomic_load(&all[i].pid), SIGTERM);
            close(all[i].fd); /* one that was started to ignore that ends behind its video */
        }
    for (int i = 0; i < SP_MAX_WORKERS; i++)
        if (atomic_load(&all[i].pid))
            waitpid(atomic_load(&all[i].pid), NULL, 0);
    errno = saved;
}
