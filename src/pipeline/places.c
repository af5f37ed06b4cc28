#include "pipeline/places.h"

#include <isa-l.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pipeline/collisions.h"

uint64_t sp_places_video(const char *video)
{
    return crc64_ecma_refl(0, (const unsigned char *)video, strlen(video)) & SP_PLACES_VIDEO;
}

/* False: nothing that could be replaced, or there is no such folder. */
static bool find_key(const char *path, uint64_t key[2])
{
    struct Place {
        dev_t device;
        ino_t inode;
        char name[PATH_MAX];
    } at = {0};
    char folder[PATH_MAX];
    struct stat info;
    if (strcmp(path, "-") == 0 || !sp_split_path(path, folder, at.name) ||
        (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) ||
        stat(folder, &info) != 0)
        return false;
    at.device = info.st_dev;
    at.inode = info.st_ino;
    const size_t bytes = offsetof(struct Place, name) + strlen(at.name);
    key[0] = crc64_ecma_refl(0, (const unsigned char *)&at, bytes);
    key[1] = crc64_iso_refl(0, (const unsigned char *)&at, bytes);
    key[1] += key[0] == 0 && key[1] == 0;
    return true;
}

/* Where the key is, or would go. There is room. */
static SpPlace *find(const SpPlaces *places, const uint64_t key[2])
{
    const size_t mask = places->capacity - 1;
    size_t at = key[0] & mask;
    while ((places->place[at].key[0] || places->place[at].key[1]) &&
           memcmp(places->place[at].key, key, sizeof places->place[at].key) != 0)
        at = (at + 1) & mask;
    return &places->place[at];
}

/* Room for one more: at least a quarter stays free. */
static bool grow(SpPlaces *places)
{
    if (4 * (places->count + 1) <= 3 * places->capacity)
        return true;
    SpPlaces larger = {.count = places->count,
                       .capacity = places->capacity ? 2 * places->capacity : 64};
    larger.place = calloc(larger.capacity, sizeof *larger.place);
    if (!larger.place)
        return false;
    for (size_t i = 0; i < places->capacity; i++)
        if (places->place[i].key[0] || places->place[i].key[1])
            *find(&larger, places->place[i].key) = places->place[i];
    free(places->place);
    *places = larger;
    return true;
}

SpStatus sp_places_claim(SpPlaces *places, const char *path, const SpPlaceOwner *owner,
                         const SpPlaceOwner **found)
{
    uint64_t key[2];
    *found = NULL;
    if (!find_key(path, key))
        return sp_ok();
    if (!grow(places))
        return sp_no_memory("the list of files");
    SpPlace *place = find(places, key);
    if (place->key[0] || place->key[1]) {
        *found = &place->owner;
        return sp_ok();
    }
    *place = (SpPlace){{key[0], key[1]}, *owner};
    places->count++;
    return sp_ok();
}

void sp_places_free(SpPlaces *places)
{
    free(places->place);
    *places = (SpPlaces){0};
}
