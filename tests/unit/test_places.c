/* The places of a list's videos: each is known again, by whatever name, and few bytes are held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "pipeline/places.h"

enum { MANY = 20000 };

static void claim(SpPlaces *places, const char *path, uint64_t video, const SpPlaceOwner **found)
{
    const SpPlaceOwner owner = {.video = video & SP_PLACES_VIDEO, .role = 3};
    assert_int_equal(sp_places_claim(places, path, &owner, found).code, SP_OK);
}

static void every_place_has_its_first_owner(void **state)
{
    (void)state;
    SpPlaces places = {0};
    const SpPlaceOwner *found;
    char path[64];
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < MANY; i++) {
            snprintf(path, sizeof path, "/nowhere/clip%llu.npz", (unsigned long long)i);
            claim(&places, path, i + (uint64_t)round * MANY, &found);
            assert_int_equal(found != NULL, round);
            if (found)
                assert_true(found->video == i && found->role == 3);
        }
    assert_int_equal(places.count, MANY);
    assert_true(places.capacity * sizeof *places.place < (size_t)MANY * 64);
    sp_places_free(&places);
}

static void a_place_has_many_names(void **state)
{
    (void)state;
    static const char *const same[] = {"/tmp/../tmp/x.npz", "/tmp/./x.npz", "//tmp//x.npz"};
    static const char *const none[] = {"-", "/dev/null"};
    SpPlaces places = {0};
    const SpPlaceOwner *found;
    claim(&places, "/tmp/x.npz", 7, &found);
    assert_null(found);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        claim(&places, same[i], 8, &found);
        assert_non_null(found);
        assert_true(found->video == 7);
    }
    claim(&places, "/tmp/y.npz", 8, &found);
    assert_null(found);
    for (size_t i = 0; i < 2 * sizeof none / sizeof *none; i++) { /* twice, and never taken */
        claim(&places, none[i / 2], 9, &found);
        assert_null(found);
    }
    sp_places_free(&places);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_has_its_first_owner),
        cmocka_unit_test(a_place_has_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
