#include "geometry/similarity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "geometry/procrustes.h"

enum { FIRST_ROUNDS = 10, ROUNDS = 30 };

static const double MEDIANS = 2;  /* beyond so many a pair counts less and less */
static const double LEAST = 1e-7; /* the smallest k: float32's rounding */
static const double FLAT = 1e-10; /* relative: what is smaller is rounding */

SpSimilarity sp_similarity_identity(void)
{
    return (SpSimilarity){.scale = 1, .rotation = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
}

void sp_similarity_apply(const SpSimilarity *s, const double x[3], double y[3])
{
    double out[3];
    for (int i = 0; i < 3; i++) {
        const double *r = s->rotation + 3 * i;
        out[i] = s->scale * (r[0] * x[0] + r[1] * x[1] + r[2] * x[2]) + s->translation[i];
    }
    memcpy(y, out, sizeof out);
}

void sp_similarity_pose(const SpSimilarity *s, const float c2w[16], float out[16])
{
    const double eye[3] = {c2w[3], c2w[7], c2w[11]};
    float pose[16] = {[15] = 1};
    double moved[3];
    sp_similarity_apply(s, eye, moved);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            double sum = 0;
            for (int k = 0; k < 3; k++)
                sum += s->rotation[3 * i + k] * (double)c2w[4 * k + j];
            pose[4 * i + j] = (float)sum;
        }
        pose[4 * i + 3] = (float)moved[i];
    }
    memcpy(out, pose, sizeof pose);
}

SpSimilarity sp_similarity_between(const float from[16], const float to[16], double scale)
{
    SpSimilarity s = {.scale = scale};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++)
                s.rotation[3 * i + j] += (double)to[4 * i + k] * (double)from[4 * j + k];
    const double eye[3] = {from[3], from[7], from[11]};
    double moved[3];
    sp_similarity_apply(&s, eye, moved);
    for (int i = 0; i < 3; i++)
        s.translation[i] = (double)to[4 * i + 3] - moved[i];
    return s;
}

static int ascending(const void *a, const void *b)
{
    const double x = ((const SpWeighted *)a)->value, y = ((const SpWeighted *)b)->value;
    return (x > y) - (x < y);
}

double sp_weighted_median(SpWeighted *values, int64_t count)
{
    double total = 0, below = 0;
    qsort(values, (size_t)count, sizeof *values, ascending);
    for (int64_t i = 0; i < count; i++)
        total += values[i].weight;
    for (int64_t i = 0; i < count && total > 0; i++) {
        below += values[i].weight;
        if (values[i].weight > 0 && below >= total / 2)
            return values[i].value;
    }
    return NAN;
}

/* Weighted sums about the centres: h[i][j] of x_i y_j, and of |x|^2 and |y|^2. */
typedef struct Moments {
    double total, cx[3], cy[3], h[3][3], xx, yy;
} Moments;

/* `work` holds the weight of each pair. */
static Moments moments_of(const SpPointPair *pairs, int64_t count, const SpWeighted *work)
{
    Moments m = {0};
    for (int64_t n = 0; n < count; n++) {
        const double w = work[n].weight;
        m.total += w;
        for (int i = 0; i < 3 && w > 0; i++) {
            m.cx[i] += w * pairs[n].x[i];
            m.cy[i] += w * pairs[n].y[i];
        }
    }
    for (int i = 0; i < 3 && m.total > 0; i++) {
        m.cx[i] /= m.total;
        m.cy[i] /= m.total;
    }
    for (int64_t n = 0; n < count; n++) {
        const double w = work[n].weight;
        for (int i = 0; i < 3 && w > 0; i++) {
            const double x = pairs[n].x[i] - m.cx[i], y = pairs[n].y[i] - m.cy[i];
            m.xx += w * x * x;
            m.yy += w * y * y;
            for (int j = 0; j < 3; j++)
                m.h[i][j] += w * x * (pairs[n].y[j] - m.cy[j]);
        }
    }
    return m;
}

static double squared(const double v[3])
{
    return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

/* The squared norm of all 2 x 2 minors: that of s1 s2 and the other products of singular values. */
static double squared_minors(double h[3][3])
{
    double sum = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const double *a = h[(i + 1) % 3], *b = h[(i + 2) % 3];
            const double minor = a[(j + 1) % 3] * b[(j + 2) % 3] - a[(j + 2) % 3] * b[(j + 1) % 3];
            sum += minor * minor;
        }
    return sum;
}

/* The smallest rotation that takes the direction x to the direction y, both of unit length. */
static void shortest_rotation(const double x[3], const double y[3], double r[9])
{
    const double v[3] = {x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2],
                         x[0] * y[1] - x[1] * y[0]};
    const double c = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    const double cross[9] = {0, -v[2], v[1], v[2], 0, -v[0], -v[1], v[0], 0};
    int least = 0; /* axis farthest from x, for half a turn */
    for (int i = 1; i < 3; i++)
        least = fabs(x[i]) < fabs(x[least]) ? i : least;
    double axis[3] = {-x[0] * x[least], -x[1] * x[least], -x[2] * x[least]};
    axis[least] += 1;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            r[3 * i + j] = 1 + c > 1e-12 ? (i == j) * c + cross[3 * i + j] + v[i] * v[j] / (1 + c)
                                         : 2 * axis[i] * axis[j] / squared(axis) - (i == j);
}

/* Of points on a line, h = l x y^T: from its largest column and row. */
static void rotation_of_line(double h[3][3], double r[9])
{
    double x[3], y[3], most = 0;
    int row = 0;
    for (int i = 0; i < 3; i++)
        if (squared(h[i]) > most) {
            most = squared(h[i]);
            row = i;
        }
    for (int i = 0; i < 3; i++)
        y[i] = h[row][i] / sqrt(most);
    for (int i = 0; i < 3; i++)
        x[i] = h[i][0] * y[0] + h[i][1] * y[1] + h[i][2] * y[2];
    const double length = sqrt(squared(x));
    for (int i = 0; i < 3; i++)
        x[i] /= length;
    shortest_rotation(x, y, r);
}

/* The least-squares fit with the weights in `work`; of that scale where one is given, else 0. */
static bool fit_once(const SpPointPair *pairs, int64_t count, const SpWeighted *work, double scale,
                     SpSimilarity *out)
{
    Moments m = moments_of(pairs, count, work);
    double norm = 0, r[3][3];
    SpSimilarity s = sp_similarity_identity();
    for (int i = 0; i < 3; i++)
        norm += squared(m.h[i]);
    const bool spread = m.xx > FLAT * FLAT * m.total * squared(m.cx) &&
                        m.yy > FLAT * FLAT * m.total * squared(m.cy) && norm > 0;
    if (spread) {
        s.scale = scale > 0 ? scale : sqrt(m.yy / m.xx);
        if (squared_minors(m.h) <= FLAT * FLAT * norm * norm)
            rotation_of_line(m.h, s.rotation);
        else if (sp_procrustes_rotation(m.h, r))
            memcpy(s.rotation, r, sizeof r);
    }
    double moved[3];
    sp_similarity_apply(&s, m.cx, moved);
    bool finite = m.total > 0 && isfinite(s.scale) && s.scale > 0;
    for (int i = 0; i < 3; i++) {
        s.translation[i] = m.cy[i] - moved[i];
        finite = finite && isfinite(s.translation[i]);
    }
    *out = finite ? s : sp_similarity_identity();
    return finite;
}

static bool counts(const SpPointPair *p)
{
    return p->weight > 0 && isfinite(p->weight) && p->unit > 0 && isfinite(p->unit) &&
           isfinite(squared(p->x)) && isfinite(squared(p->y));
}

/* A pair's distance in its unit. */
static double distance(const SpPointPair *p, const SpSimilarity *s)
{
    double d[3];
    sp_similarity_apply(s, p->x, d);
    for (int i = 0; i < 3; i++)
        d[i] -= p->y[i];
    return sqrt(squared(d)) / p->unit;
}

/* Of the lengths between two points each, in y over x, the one in the middle: a scale that neither
 * the rotation nor a quarter of the pairs has a say in. 0 where there is none. */
static double middle_scale(const SpPointPair *pairs, int64_t count, SpWeighted *work)
{
    int64_t found = 0;
    for (int64_t n = 0; n < count; n++) {
        const SpPointPair *a = pairs + n, *b = pairs + (n + count / 2 + 1) % count;
        double x[3], y[3];
        for (int i = 0; i < 3; i++) {
            x[i] = a->x[i] - b->x[i];
            y[i] = a->y[i] - b->y[i];
        }
        const double ratio = sqrt(squared(y) / squared(x));
        if (counts(a) && counts(b) && ratio > 0 && isfinite(ratio))
            work[found++] = (SpWeighted){ratio, a->weight * b->weight};
    }
    const double middle = sp_weighted_median(work, found);
    return middle > 0 ? middle : 0;
}

/* Weights of the next round: Huber's, or their squares. */
static void reweight(const SpPointPair *pairs, int64_t count, const SpSimilarity *s, bool square,
                     SpWeighted *work)
{
    for (int64_t n = 0; n < count; n++)
        work[n] = counts(pairs + n) ? (SpWeighted){distance(pairs + n, s), pairs[n].weight}
                                    : (SpWeighted){0};
    const double k = fmax(MEDIANS * sp_weighted_median(work, count), LEAST);
    for (int64_t n = 0; n < count; n++) {
        const SpPointPair *p = pairs + n;
        const double e = counts(p) ? distance(p, s) : 0;
        const double huber = e > k ? k / e : 1, say = square ? huber * huber : huber;
        work[n].weight = counts(p) ? say * p->weight / (p->unit * p->unit) : 0;
    }
}

static bool is_near(const SpSimilarity *a, const SpSimilarity *b)
{
    double most = fabs(a->scale / b->scale - 1);
    for (int i = 0; i < 9; i++)
        most = fmax(most, fabs(a->rotation[i] - b->rotation[i]));
    double off = 0;
    for (int i = 0; i < 3; i++)
        off = fmax(off, fabs(a->translation[i] - b->translation[i]));
    return most < 1e-9 && off <= 1e-9 * sqrt(squared(b->translation));
}

bool sp_similarity_fit(const SpPointPair *pairs, int64_t count, SpWeighted *work, SpSimilarity *out)
{
    const double scale = middle_scale(pairs, count, work);
    for (int64_t n = 0; n < count; n++) {
        const SpPointPair *p = pairs + n;
        work[n].weight = counts(p) ? p->weight / (p->unit * p->unit) : 0;
    }
    bool found = fit_once(pairs, count, work, scale, out);
    for (int round = 0; round < FIRST_ROUNDS + ROUNDS && found; round++) {
        const bool free = round >= FIRST_ROUNDS;
        const SpSimilarity last = *out;
        reweight(pairs, count, &last, free, work);
        found = fit_once(pairs, count, work, free ? 0 : scale, out);
        if (free && found && is_near(out, &last))
            break;
    }
    return found;
}
