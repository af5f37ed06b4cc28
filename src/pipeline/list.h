/*
 * Which videos a run is of: the names on the command line, folders of videos, and the lines of
 * --list, which are read as they come.
 */
#ifndef SP_PIPELINE_LIST_H
#define SP_PIPELINE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Texts, all owned. Zeroed, there are none. */
typedef struct SpNames {
    char **name;
    int count;
} SpNames;

/* Adds a copy of `name`. SP_MEMORY. */
SpStatus sp_names_add(SpNames *names, const char *name);
void sp_names_free(SpNames *names);

/* Adds the videos that `path` stands for: of a folder that holds videos (files with the ending of
 * one, such as .mp4) and no images, each of these by name, runs of digits by their value; else
 * `path` itself. *folder: it is such a folder. SP_MEMORY. */
SpStatus sp_names_add_videos(SpNames *names, const char *path, bool *folder);

/* FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), begun with SP_FNV. */
#define SP_FNV UINT64_C(0xcbf29ce484222325)
uint64_t sp_fnv(uint64_t hash, const void *data, size_t bytes);

/* Whether a video belongs to the part `shard` of `shards`, counted from 1: sp_fnv of its
 * path's bytes as they are given, modulo `shards`, is shard - 1. */
bool sp_in_shard(const char *path, int64_t shard, int64_t shards);

/* A file of entries that end in a newline or, where that is asked for, in a NUL. */
typedef struct SpList {
    const char *path; /* for messages; a view */
    int fd;
    char end;
    bool ended; /* nothing comes any more */
    char *text; /* what has been read and not handed out, [used] of [capacity] */
    size_t used, capacity;
} SpList;

/* Opens a list; "-" is standard input. Release with sp_list_close. SP_INPUT. */
SpStatus sp_list_open(const char *path, bool null, SpList *list);
void sp_list_close(SpList *list);

/* Reads what has come of it, waiting until there is something. SP_INPUT; SP_MEMORY. */
SpStatus sp_list_read(SpList *list);

/* Takes the next entry that has been read whole: `video`, or `video<TAB>output`, cut at its last
 * tab; empty ones are passed over. *video is the caller's to free and NULL where there is none yet,
 * or, once `ended`, any more; *output is a view in it, or NULL. SP_INPUT for an entry of more than
 * 64 KiB, which is no path; SP_MEMORY. */
SpStatus sp_list_take(SpList *list, char **video, const char **output);

#endif
