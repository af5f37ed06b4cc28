/*
 * The places that the videos of a list read and write, of which there may be millions: 24 bytes for
 * each, whatever its name's length.
 */
#ifndef SP_PIPELINE_PLACES_H
#define SP_PIPELINE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The bits of a video's number. */
#define SP_PLACES_VIDEO (UINT64_MAX >> 8)

/* Who has a place: the first that came. */
typedef struct SpPlaceOwner {
    uint64_t video : 56; /* sp_places_video of its video */
    uint64_t role : 8;   /* of the file (files.h) */
} SpPlaceOwner;

/* Folder and name there as two checksums of 64 bits: that two of n places are taken for one has
 * a chance of n^2 in 2^129. */
typedef struct SpPlace {
    uint64_t key[2]; /* both 0: free */
    SpPlaceOwner owner;
} SpPlace;

/* A hash table. Zeroed, there are none. */
typedef struct SpPlaces {
    SpPlace *place;
    size_t count, capacity; /* a power of 2, or 0 */
} SpPlaces;

/* A number for a video's name. */
uint64_t sp_places_video(const char *video);

/* Finds the owner of the place that `path` leads to, a file or folder, whether it exists or not;
 * where it has none, *owner becomes it, and *found is NULL. Left out is what cannot be replaced
 * (devices, sockets, standard input and output). *found is valid until the next call. SP_MEMORY. */
SpStatus sp_places_claim(SpPlaces *places, const char *path, const SpPlaceOwner *owner,
                         const SpPlaceOwner **found);

void sp_places_free(SpPlaces *places);

#endif
