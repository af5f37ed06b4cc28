/* Ray casting of the training world on a CPU: the twin of hit, meet, lit and their callers in
 * render.py, which says what everything means. Loaded by cast.py through ctypes; all arrays are
 * planar, [3][n]. */
#include <math.h>
#include <stdint.h>

enum { BOX, BALL, FRUSTUM, ROOM };
enum { SIZE = 256, LEVELS = 7 };
#define FAR 1e9f

typedef struct {
    float x, y, z;
} Vec;

typedef struct {
    int32_t kind;
    float slope, gloss, texels, cover_texels, cover_share;
    float scales[3];
    int32_t textures[6], emissive[6];
    float offsets[6][2];
    float local[12];   /* world to local, rows [3][4] */
    Vec centre;        /* of the bounding sphere */
    float reach;       /* its radius */
    int32_t bounds[4]; /* x0, y0, x1, y1 on the image */
} Surface;

typedef struct {
    int32_t count, textures, lamp, shadows;
    Vec eye;
    float focal;
    Vec place; /* the lamp's position, or the direction to the sun */
    float range, power, ambient, tint[3];
    const Surface *surfaces;
    const float *atlas; /* [.., 3], levels after each other */
} World;

static inline float dot(Vec a, Vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static inline Vec along(Vec a, float t, Vec b)
{
    return (Vec){a.x + t * b.x, a.y + t * b.y, a.z + t * b.z};
}
static inline Vec minus(Vec a, Vec b)
{
    return (Vec){a.x - b.x, a.y - b.y, a.z - b.z};
}
static inline Vec times(float s, Vec a)
{
    return (Vec){s * a.x, s * a.y, s * a.z};
}
static inline Vec unit(Vec a)
{
    return times(1 / sqrtf(fmaxf(dot(a, a), 1e-18f)), a);
}
static inline float inverse(float a)
{
    return 1 / (a + 1e-12f);
}

static inline Vec turn(const float *rows, Vec a)
{
    return (Vec){rows[0] * a.x + rows[1] * a.y + rows[2] * a.z,
                 rows[4] * a.x + rows[5] * a.y + rows[6] * a.z,
                 rows[8] * a.x + rows[9] * a.y + rows[10] * a.z};
}

static inline Vec move(const float *rows, Vec a)
{
    Vec out = turn(rows, a);
    return (Vec){out.x + rows[3], out.y + rows[7], out.z + rows[11]};
}

/* Where a ray enters the unit box, and where it leaves it. */
static inline float span_of_box(Vec o, Vec d, float *leave)
{
    float ix = inverse(d.x), iy = inverse(d.y), iz = inverse(d.z);
    float ax = fabsf(ix), ay = fabsf(iy), az = fabsf(iz);
    *leave = fminf(fminf(-o.x * ix + ax, -o.y * iy + ay), -o.z * iz + az);
    return fmaxf(fmaxf(-o.x * ix - ax, -o.y * iy - ay), -o.z * iz - az);
}

static float hit_box(Vec o, Vec d)
{
    float leave, enter = span_of_box(o, d, &leave);
    return enter < leave && enter > 1e-4f ? enter : FAR;
}

static float hit_ball(Vec o, Vec d)
{
    float a = dot(d, d), b = dot(o, d), root = b * b - a * (dot(o, o) - 1);
    if (root <= 0)
        return FAR;
    float t = (-b - sqrtf(root)) / a;
    return t > 1e-4f ? t : FAR;
}

static float hit_frustum(float slope, Vec o, Vec d)
{
    float radius = 1 - slope - slope * o.z, grow = -slope * d.z, best = FAR;
    float i = inverse(d.x * d.x + d.y * d.y - grow * grow);
    float b = (o.x * d.x + o.y * d.y - radius * grow) * i;
    float root = b * b - (o.x * o.x + o.y * o.y - radius * radius) * i;
    if (root > 0) {
        float s = sqrtf(root);
        for (int k = -1; k <= 1; k += 2) {
            float t = -b + (float)k * s;
            if (fabsf(o.z + t * d.z) <= 1 && t > 1e-4f && t < best)
                best = t;
        }
    }
    float iz = inverse(d.z);
    for (int k = -1; k <= 1; k += 2) {
        float t = ((float)k - o.z) * iz, r = k < 0 ? 1 : 1 - 2 * slope;
        float x = o.x + t * d.x, y = o.y + t * d.y;
        if (x * x + y * y <= r * r && t > 1e-4f && t < best)
            best = t;
    }
    return best;
}

static inline float hit(const Surface *s, Vec o, Vec d)
{
    return s->kind == BOX    ? hit_box(o, d)
           : s->kind == BALL ? hit_ball(o, d)
                             : hit_frustum(s->slope, o, d);
}

static inline Vec at(const float *a, int n, int i)
{
    return (Vec){a[i], a[n + i], a[2 * n + i]};
}

typedef struct {
    int n;
    const float *d; /* [3][n] */
    float *depth;   /* [n], as is seen */
    int64_t *seen;
} Rays;

/* Ray i and surface p, from whose local axes it starts at `eye`. */
static void trace_one(const Rays *r, int i, const Surface *surfaces, int p, Vec eye)
{
    float t = hit(surfaces + p, eye, turn(surfaces[p].local, at(r->d, r->n, i)));
    if (t < r->depth[i]) {
        r->depth[i] = t;
        r->seen[i] = p;
    }
}

/* Depth and surface [n] that rays d [3][n] through pixels xy [2][n] meet; width > 0: the pixels are
 * those of an image of that width, in order. */
void trace(const World *w, int n, int width, const float *xy, const float *d, float *depth,
           int64_t *seen)
{
    Rays rays = {n, d, depth, seen};
    const Surface *surfaces = w->surfaces;
    Vec eye = move(surfaces->local, w->eye); /* the first surface is the room around all */
    for (int i = 0; i < n; i++) {
        span_of_box(eye, turn(surfaces->local, at(d, n, i)), &depth[i]);
        seen[i] = 0;
    }
    for (int p = 1; p < w->count; p++) {
        const int32_t *b = surfaces[p].bounds;
        eye = move(surfaces[p].local, w->eye);
        for (int y = b[1]; width > 0 && y < b[3]; y++)
            for (int x = b[0]; x < b[2]; x++)
                trace_one(&rays, y * width + x, surfaces, p, eye);
        for (int i = 0; width <= 0 && i < n; i++)
            if (xy[i] > (float)b[0] - 1 && xy[i] < (float)b[2] && xy[n + i] > (float)b[1] - 1 &&
                xy[n + i] < (float)b[3])
                trace_one(&rays, i, surfaces, p, eye);
    }
}

/* Whether anything lies between a point and the light, which is `way` from it. */
static int shadowed(const World *w, Vec point, Vec way)
{
    float square = 1 / dot(way, way);
    for (int p = 1; p < w->count; p++) {
        const Surface *s = w->surfaces + p;
        Vec away = minus(s->centre, point);
        float t = fminf(fmaxf(dot(away, way) * square, 0), 1);
        Vec off = along(away, -t, way);
        if (dot(off, off) < s->reach * s->reach &&
            hit(s, move(s->local, point), turn(s->local, way)) < 1)
            return 1;
    }
    return 0;
}

static inline int largest(Vec a)
{
    float x = fabsf(a.x), y = fabsf(a.y), z = fabsf(a.z);
    return x >= fmaxf(y, z) ? 0 : y >= z ? 1 : 2;
}
static inline float part(Vec a, int i)
{
    return i == 0 ? a.x : i == 1 ? a.y : a.z;
}

/* The outward normal in local axes, not unit, and the face 0..5. */
static Vec normal_of(const Surface *s, Vec local, int *face)
{
    int axis = largest(local);
    Vec out = local;
    if (s->kind == BOX || s->kind == ROOM) {
        float v = (part(local, axis) > 0 ? 1.0f : -1.0f) * (s->kind == ROOM ? -1.0f : 1.0f);
        out = (Vec){axis == 0 ? v : 0, axis == 1 ? v : 0, axis == 2 ? v : 0};
    } else {
        if (s->kind == FRUSTUM)
            out = fabsf(local.z) > 1 - 1e-4f
                      ? (Vec){0, 0, local.z}
                      : (Vec){local.x, local.y, s->slope * (1 - s->slope - s->slope * local.z)};
        axis = largest((Vec){out.x / s->scales[0], out.y / s->scales[1], out.z / s->scales[2]});
    }
    *face = axis * 2 + (part(local, axis) > 0);
    return out;
}

static inline int mirror(int i, int size)
{
    i &= 2 * size - 1;
    return i < size ? i : 2 * size - 1 - i;
}

static Vec sample(const World *w, int texture, float u, float v, float texels, float footprint)
{
    float exact = rintf(log2f(footprint * texels));
    int level = (int)fminf(fmaxf(exact, 0), LEVELS - 1);
    int64_t start = 0;
    for (int l = 0; l < level; l++)
        start += (int64_t)w->textures * (SIZE >> l) * (SIZE >> l);
    int size = SIZE >> level;
    float scale = 1 / (float)(1 << level);
    u = u * scale - 0.5f, v = v * scale - 0.5f;
    float fu = floorf(u), fv = floorf(v), pu = u - fu, pv = v - fv;
    int x0 = mirror((int)fu, size), x1 = mirror((int)fu + 1, size);
    int y0 = mirror((int)fv, size), y1 = mirror((int)fv + 1, size);
    const float *base = w->atlas + 3 * (start + (int64_t)texture * size * size);
    const float *a = base + 3 * (y0 * size + x0), *b = base + 3 * (y0 * size + x1);
    const float *c = base + 3 * (y1 * size + x0), *d = base + 3 * (y1 * size + x1);
    float out[3];
    for (int i = 0; i < 3; i++) {
        float top = a[i] + pu * (b[i] - a[i]), bottom = c[i] + pu * (d[i] - c[i]);
        out[i] = top + pv * (bottom - top);
    }
    return (Vec){out[0], out[1], out[2]};
}

static Vec paint(const World *w, const Surface *s, Vec local, int face, float footprint)
{
    float mx = local.x * s->scales[0], my = local.y * s->scales[1], mz = local.z * s->scales[2];
    float u = face / 2 == 0 ? my : mx, v = face / 2 == 2 ? my : mz;
    const float *move = s->offsets[face];
    Vec colour = sample(w, s->textures[face], u * s->texels + move[0], v * s->texels + move[1],
                        s->texels, footprint);
    if (s->cover_share <= 0)
        return colour;
    float scale = s->cover_texels;
    Vec cover = sample(w, 0, u * scale + move[0], v * scale + move[1], scale, footprint);
    float k = s->cover_share;
    return (Vec){colour.x * (1 - k * (1 - cover.x)), colour.y * (1 - k * (1 - cover.y)),
                 colour.z * (1 - k * (1 - cover.z))};
}

/* Linear colours [n][3], faces and shadows [n] of what rays from the eye met. Eight parameters: the
 * arrays that cast.py hands over one by one. */
void shade(const World *w, int n, const float *d, const float *depth, const int64_t *seen,
           float *image, int64_t *face, uint8_t *dark)
{
    for (int i = 0; i < n; i++) {
        const Surface *s = w->surfaces + seen[i];
        Vec ray = at(d, n, i), point = along(w->eye, depth[i], ray), local = move(s->local, point);
        int side;
        Vec out = normal_of(s, local, &side);
        const float *r = s->local;
        Vec normal = unit((Vec){out.x * r[0] + out.y * r[4] + out.z * r[8],
                                out.x * r[1] + out.y * r[5] + out.z * r[9],
                                out.x * r[2] + out.y * r[6] + out.z * r[10]});
        Vec look = unit(ray);
        float footprint = depth[i] / w->focal / sqrtf(fmaxf(fabsf(dot(normal, look)), 0.02f));
        Vec colour = paint(w, s, local, side, footprint);
        face[i] = side;
        dark[i] = 0;
        float bright[3] = {1, 1, 1}, shine = 0;
        if (!s->emissive[side]) {
            Vec way = w->lamp ? minus(w->place, point) : times(60, w->place),
                toward = w->lamp ? unit(way) : w->place;
            float facing = dot(normal, toward);
            float power =
                w->lamp ? w->power / (0.4f + dot(way, way) / (w->range * w->range)) : w->power;
            dark[i] = w->shadows && facing > 0 && shadowed(w, along(point, 2e-3f, normal), way);
            power = dark[i] ? 0 : power;
            float gleam = fmaxf(dot(normal, unit(minus(toward, look))), 0);
            gleam *= gleam, gleam *= gleam, gleam *= gleam;
            shine = s->gloss * power * gleam * gleam * gleam;
            for (int c = 0; c < 3; c++)
                bright[c] = (w->ambient * (0.75f + 0.25f * normal.z) + power * fmaxf(facing, 0)) *
                            w->tint[c];
        }
        image[3 * i] = colour.x * bright[0] + shine;
        image[3 * i + 1] = colour.y * bright[1] + shine;
        image[3 * i + 2] = colour.z * bright[2] + shine;
    }
}
