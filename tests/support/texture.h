/* A smooth random texture, and how it lies in an image. */
#ifndef SP_TESTS_SUPPORT_TEXTURE_H
#define SP_TESTS_SUPPORT_TEXTURE_H

#include <math.h>
#include <stdint.h>

enum { WAVES = 24 };

/* Smooth and random, 0..255 but for rare peaks: waves 7 to 40 pixels long. */
typedef struct Texture {
    double kx[WAVES], ky[WAVES], phase[WAVES];
} Texture;

static inline double draw(uint32_t *state) /* 0..1 */
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24);
}

static inline Texture texture_of(uint32_t seed)
{
    Texture texture;
    uint32_t state = seed;
    for (int i = 0; i < WAVES; i++) {
        const double k = 2 * M_PI / (7 + 33 * draw(&state)), angle = 2 * M_PI * draw(&state);
        texture.kx[i] = k * cos(angle);
        texture.ky[i] = k * sin(angle);
        texture.phase[i] = 2 * M_PI * draw(&state);
    }
    return texture;
}

static inline double texture_at(const Texture *texture, double x, double y)
{
    double sum = 128;
    for (int i = 0; i < WAVES; i++)
        sum += 11 * sin(texture->kx[i] * x + texture->ky[i] * y + texture->phase[i]);
    return sum;
}

/* Where a texture's pixel lies in an image: a p + b. */
typedef struct Pose {
    double a[4], b[2];
} Pose;

static inline Pose turned(double degrees, double zoom, double x, double y)
{
    const double c = zoom * cos(degrees * M_PI / 180), s = zoom * sin(degrees * M_PI / 180);
    return (Pose){{c, -s, s, c}, {x, y}};
}

static inline void place(const Pose *pose, const double from[2], double to[2])
{
    to[0] = pose->a[0] * from[0] + pose->a[1] * from[1] + pose->b[0];
    to[1] = pose->a[2] * from[0] + pose->a[3] * from[1] + pose->b[1];
}

static inline void place_back(const Pose *pose, const double from[2], double to[2])
{
    const double *a = pose->a, x = from[0] - pose->b[0], y = from[1] - pose->b[1];
    const double det = a[0] * a[3] - a[1] * a[2];
    to[0] = (a[3] * x - a[1] * y) / det;
    to[1] = (a[0] * y - a[2] * x) / det;
}

static inline double shown(const Texture *texture, const Pose *pose, double x, double y)
{
    double at[2];
    place_back(pose, (double[2]){x, y}, at);
    return texture_at(texture, at[0], at[1]);
}

#endif
