/* Texts: queries, lists of videos, the command line. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "fuzz/targets.h"
#include "input/queries.h"
#include "pipeline/list.h"

/* The first byte: whether frames are cropped. */
void fuzz_csv(const uint8_t *data, size_t size)
{
    enum { FRAMES = 5, HEIGHT = 80, WIDTH = 60 };
    const bool crops = fuzz_take(&data, &size) & 1;
    const SpFramePlan plan = {.input_height = HEIGHT,
                              .input_width = WIDTH,
                              .resized_height = HEIGHT,
                              .resized_width = WIDTH,
                              .first_row = crops ? 10 : 0,
                              .height = crops ? WIDTH : HEIGHT,
                              .width = WIDTH};
    SpQueries queries;
    const SpStatus status = sp_queries_read(fuzz_file(data, size), FRAMES, &plan, &queries);
    if (!fuzz_expect(status, SP_USAGE))
        return;
    for (int64_t i = 0; i < queries.count; i++)
        if (!(queries.query[3 * i] >= 0 && queries.query[3 * i] < FRAMES))
            abort();
    sp_queries_free(&queries);
}

/* The first byte: whether entries end in NULs. */
void fuzz_list(const uint8_t *data, size_t size)
{
    SpList list;
    const bool null = fuzz_take(&data, &size) & 1;
    if (!fuzz_expect(sp_list_open(fuzz_file(data, size), null, &list), SP_INPUT))
        return;
    while (!list.ended && fuzz_expect(sp_list_read(&list), SP_INPUT)) {
        char *video = NULL;
        const char *output;
        do {
            free(video);
            if (!fuzz_expect(sp_list_take(&list, &video, &output), SP_INPUT))
                break;
            if (video && strlen(video) + (output ? strlen(output) : 0) > size)
                abort();
        } while (video);
    }
    sp_list_close(&list);
}

/* Arguments end in newlines; paths are of an empty folder. */
void fuzz_options(const uint8_t *data, size_t size)
{
    enum { MOST = 64 };
    char *argv[MOST + 2] = {(char[]){"spatrack"}};
    static int moved;
    int argc = 1;
    SpOptions options;
    if (!moved++ && chdir(fuzz_folder()) != 0)
        _exit(99);
    char *text = calloc(size + 1, 1), *rest = text;
    if (!text)
        return;
    memcpy(text, data, size);
    while (rest && argc <= MOST)
        argv[argc++] = strsep(&rest, "\n");
    fuzz_expect(sp_options_parse(argc, argv, &options), SP_USAGE);
    sp_options_free(&options);
    free(text);
}
