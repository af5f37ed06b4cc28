#include "geometry/bundle_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "geometry/camera.h"

enum {
    MIN_POINTS = 50,
    MAX_ITERATIONS = 100,
    MAX_NONMONOTONIC = 10,
    MAX_INVALID = 10,
    WORTH_THREADS = 8192 /* observations */
};
static const double RADIUS = 1, MAX_RADIUS = 10, MIN_RADIUS = 1e-6;
static const double MIN_DIAGONAL = 1e-3, MAX_DIAGONAL = 1e10, MIN_DECREASE = 1e-3;
static const double FUNCTION_TOLERANCE = 1e-8, GRADIENT_TOLERANCE = 1e-12;
static const double PARAMETER_TOLERANCE = 1e-10, MAX_COORDINATE = 3000;

static void *alloc(char *base, size_t *used, size_t count, size_t size)
{
    void *at = base ? base + *used : NULL;
    *used += (count * size + 63) / 64 * 64;
    return at;
}

/* Lays the solver's arrays out from `base`; returns the bytes they take. base NULL only counts. */
static size_t lay_out(SpBundleSolver *s, char *base, int64_t frames, int64_t points)
{
    const size_t t = (size_t)frames, p = (size_t)points, d = sizeof(double);
    const size_t unknowns = POSE * t + 3 * p;
    size_t used = 0;
    s->obs = alloc(base, &used, t * p, sizeof *s->obs);
    s->first = alloc(base, &used, p + 1, sizeof *s->first);
    s->camera = alloc(base, &used, t, sizeof *s->camera);
    s->pose = alloc(base, &used, t, sizeof *s->pose);
    s->next_pose = alloc(base, &used, t, sizeof *s->pose);
    s->best_pose = alloc(base, &used, t, sizeof *s->pose);
    s->point = alloc(base, &used, 3 * p, d);
    s->next_point = alloc(base, &used, 3 * p, d);
    s->scale = alloc(base, &used, unknowns, d);
    s->diagonal = alloc(base, &used, unknowns, d);
    s->gradient = alloc(base, &used, unknowns, d);
    s->step = alloc(base, &used, unknowns, d);
    s->rotation = alloc(base, &used, t, sizeof *s->rotation);
    s->sums = alloc(base, &used, (CHUNKS + 1) * t, sizeof *s->sums);
    s->normal = alloc(base, &used, p, sizeof *s->normal);
    s->inverse = alloc(base, &used, p, sizeof *s->inverse);
    s->schur = alloc(base, &used, t * (t + 1) / 2, sizeof *s->schur);
    s->factor = alloc(base, &used, t * BLOCK_POINTS, sizeof *s->factor);
    s->right = alloc(base, &used, BLOCK_POINTS, sizeof *s->right);
    s->seen = alloc(base, &used, t, sizeof *s->seen);
    return used;
}

size_t SP_FN(sp_bundle_bytes)(int64_t frames, int64_t points)
{
    return lay_out(&(SpBundleSolver){0}, NULL, frames, points);
}

/* Points with two observations or more, and the observations of those that are not too far. */
static void select_observations(const SpBundleProblem *problem, SpBundleSolver *s)
{
    s->points = s->observations = 0;
    for (int64_t p = 0; p < problem->points; p++) {
        int64_t seen = 0;
        for (int64_t t = 0; t < problem->frames; t++)
            seen += problem->visible[t * problem->points + p] != 0;
        if (seen < 2)
            continue;
        const float *xyz = problem->xyz + 3 * p;
        bool in_range = true;
        for (int i = 0; i < 3; i++) {
            s->point[s->points][i] = xyz[i];
            in_range = in_range && xyz[i] < MAX_COORDINATE;
        }
        s->first[s->points] = s->observations;
        for (int64_t t = 0; in_range && t < problem->frames; t++) {
            const float *xy = problem->xy + (t * problem->points + p) * 2;
            if (problem->visible[t * problem->points + p])
                s->obs[s->observations++] = (SpBundleObservation){
                    .frame = (int32_t)t, .point = (int32_t)s->points, .xy = {xy[0], xy[1]}};
        }
        s->points++;
    }
    s->first[s->points] = s->observations;
    s->unknowns = s->pose_unknowns + 3 * s->points;
}

static void read_poses(const SpBundleProblem *problem, SpBundleSolver *s)
{
    for (int64_t t = 0; t < problem->frames; t++) {
        float w2c[16];
        double r[9];
        sp_pose_invert(problem->c2w + 16 * t, w2c);
        for (int i = 0; i < 9; i++)
            r[i] = w2c[i / 3 * 4 + i % 3];
        sp_quaternion_of_rotation(r, s->pose[t].q);
        for (int i = 0; i < 3; i++)
            s->pose[t].t[i] = w2c[4 * i + 3];
        const float *k = problem->k + 9 * t;
        memcpy(s->camera[t], (const double[]){k[0], k[2], k[5]}, sizeof s->camera[t]);
    }
}

static void rotations_of(SpBundleSolver *s, const SpBundlePose *pose)
{
    for (int64_t t = 0; t < s->frames; t++)
        sp_rotation_of_quaternion(pose[t].q, s->rotation[t]);
}

/* The rotated point r x, and the residual. */
static inline void project(const double camera[3], const double r[9], const double t[3],
                           const double x[3], const double xy[2], double rotated[3],
                           double residual[2])
{
    for (int i = 0; i < 3; i++)
        rotated[i] = r[3 * i] * x[0] + r[3 * i + 1] * x[1] + r[3 * i + 2] * x[2];
    const double z = rotated[2] + t[2];
    for (int i = 0; i < 2; i++)
        residual[i] = camera[0] * ((rotated[i] + t[i]) / z) + camera[1 + i] - xy[i];
}

/* Half the sum of squared residuals; DBL_MAX where a point cannot be projected. */
static double cost_of(SpBundleSolver *s, const SpBundlePose *pose, double (*point)[3])
{
    double part[CHUNKS], cost = 0;
    rotations_of(s, pose);
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
        const int64_t end = s->first[sp_bundle_chunk(s, chunk + 1)];
        double sum = 0;
        for (int64_t i = s->first[sp_bundle_chunk(s, chunk)]; i < end; i++) {
            const SpBundleObservation *o = &s->obs[i];
            double rotated[3], r[2];
            project(s->camera[o->frame], s->rotation[o->frame], pose[o->frame].t, point[o->point],
                    o->xy, rotated, r);
            sum += r[0] * r[0] + r[1] * r[1];
        }
        part[chunk] = sum;
    }
    for (int i = 0; i < CHUNKS; i++)
        cost += part[i];
    return isfinite(cost) ? cost / 2 : DBL_MAX;
}

/* The observation's residual and scaled Jacobian at the present state. A rotation's parameters d
 * rotate by exp([2 d]). */
static inline void linearise(const SpBundleSolver *s, SpBundleObservation *o)
{
    double v[3];
    const double *pose_scale = s->scale + POSE * (o->frame - 1),
                 *point_scale = s->scale + s->pose_unknowns + 3 * o->point;
    const double *camera = s->camera[o->frame], *t = s->pose[o->frame].t,
                 *r = s->rotation[o->frame];
    project(camera, r, t, s->point[o->point], o->xy, v, o->residual);
    const double x = v[0] + t[0], y = v[1] + t[1], z = v[2] + t[2], f = camera[0] / z;
    const double g[2][3] = {{f, 0, -f * x / z}, {0, f, -f * y / z}}; /* by camera point */
    for (int a = 0; a < 2; a++) {
        double *j = o->jacobian[a];
        j[0] = 2 * (g[a][2] * v[1] - g[a][1] * v[2]);
        j[1] = 2 * (g[a][0] * v[2] - g[a][2] * v[0]);
        j[2] = 2 * (g[a][1] * v[0] - g[a][0] * v[1]);
        for (int k = 0; k < 3; k++) {
            j[3 + k] = g[a][k];
            j[POSE + k] = g[a][0] * r[k] + g[a][1] * r[3 + k] + g[a][2] * r[6 + k];
        }
        for (int k = 0; k < POSE && o->frame; k++)
            j[k] *= pose_scale[k];
        for (int k = 0; k < 3; k++)
            j[POSE + k] *= point_scale[k];
    }
}

/* Adds j_a j_b^T's lower triangle and j r of the point's unknowns. */
static inline void add_point(const SpBundleObservation *o, double gradient[3], double products[6])
{
    const double *u = o->jacobian[0] + POSE, *v = o->jacobian[1] + POSE;
    for (int i = 0; i < 3; i++) {
        gradient[i] += u[i] * o->residual[0] + v[i] * o->residual[1];
        for (int k = 0; k <= i; k++)
            products[i * (i + 1) / 2 + k] += u[i] * u[k] + v[i] * v[k];
    }
}

/* Adds j r, and then j_a j_b^T, of the pose's unknowns. */
static inline void add_pose(const SpBundleObservation *o, SpBundleVector sums[ROWS])
{
    const double *u = o->jacobian[0], *v = o->jacobian[1];
    const SpBundleVector all_u = sp_bundle_load(u), all_v = sp_bundle_load(v);
    sp_bundle_add(&sums[0], sp_bundle_sum(o->residual[0], all_u, o->residual[1], all_v));
    SP_UNROLL(6)
    for (int i = 0; i < POSE; i++)
        sp_bundle_add(&sums[1 + i], sp_bundle_sum(u[i], all_u, v[i], all_v));
}

/* Linearises the points of a chunk and forms their blocks and gradients, and the chunk's sums. */
static void linearise_chunk(SpBundleSolver *s, int64_t chunk)
{
    SpBundleVector(*sums)[ROWS] = s->sums + chunk * s->frames;
    memset(sums, 0, (size_t)s->frames * sizeof *sums);
    for (int64_t p = sp_bundle_chunk(s, chunk); p < sp_bundle_chunk(s, chunk + 1); p++) {
        double gradient[3] = {0}, normal[6] = {0};
        for (int64_t i = s->first[p]; i < s->first[p + 1]; i++) {
            SpBundleObservation *o = &s->obs[i];
            linearise(s, o);
            add_point(o, gradient, normal);
            add_pose(o, sums[o->frame]);
        }
        memcpy(s->gradient + s->pose_unknowns + 3 * p, gradient, sizeof gradient);
        memcpy(s->normal[p], normal, sizeof normal);
    }
}

/* Residuals, Jacobian and J^T J's blocks at the present state, with their diagonal. */
static void linearise_all(SpBundleSolver *s)
{
    rotations_of(s, s->pose);
#pragma omp parallel for schedule(static) num_threads(s->threads)
    for (int64_t chunk = 0; chunk < CHUNKS; chunk++)
        linearise_chunk(s, chunk);
    SpBundleVector(*total)[ROWS] = s->sums + CHUNKS * s->frames;
    for (int64_t t = 1; t < s->frames; t++) {
        for (int i = 0; i < ROWS; i++) {
            total[t][i] = s->sums[t][i];
            for (int64_t chunk = 1; chunk < CHUNKS; chunk++)
                sp_bundle_add(&total[t][i], s->sums[chunk * s->frames + t][i]);
        }
        double lanes[ROWS][LANES];
        memcpy(lanes, total[t], sizeof lanes);
        for (int i = 0; i < POSE; i++) {
            s->gradient[POSE * (t - 1) + i] = lanes[0][i];
            s->diagonal[POSE * (t - 1) + i] = lanes[1 + i][i];
        }
    }
    for (int64_t p = 0; p < s->points; p++)
        for (int i = 0; i < 3; i++)
            s->diagonal[s->pose_unknowns + 3 * p + i] = s->normal[p][i * (i + 3) / 2];
}

/* The state one step away: q := (sin |d| d / |d|, cos |d|) q, t += d, x += d. Returns the norm of
 * the step over all numbers of the state; *size is the norm of the state. */
static double take_step(SpBundleSolver *s, double *size)
{
    double step = 0, norm = 0;
    s->next_pose[0] = s->pose[0];
    for (int64_t t = 1; t < s->frames; t++) {
        const double *y = s->step + POSE * (t - 1), *scale = s->scale + POSE * (t - 1);
        const double d[3] = {y[0] * scale[0], y[1] * scale[1], y[2] * scale[2]};
        const double length = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        const double f = length > 0 ? sin(length) / length : 1, w = cos(length);
        const double *q = s->pose[t].q, x[3] = {f * d[0], f * d[1], f * d[2]};
        SpBundlePose *next = &s->next_pose[t];
        next->q[0] = w * q[0] + x[0] * q[3] + x[1] * q[2] - x[2] * q[1];
        next->q[1] = w * q[1] - x[0] * q[2] + x[1] * q[3] + x[2] * q[0];
        next->q[2] = w * q[2] + x[0] * q[1] - x[1] * q[0] + x[2] * q[3];
        next->q[3] = w * q[3] - x[0] * q[0] - x[1] * q[1] - x[2] * q[2];
        for (int i = 0; i < 4; i++) {
            step += (next->q[i] - q[i]) * (next->q[i] - q[i]);
            norm += q[i] * q[i];
        }
        for (int i = 0; i < 3; i++) {
            const double move = y[3 + i] * scale[3 + i];
            next->t[i] = s->pose[t].t[i] + move;
            step += move * move;
            norm += s->pose[t].t[i] * s->pose[t].t[i];
        }
    }
    for (int64_t i = 0; i < 3 * s->points; i++) {
        const int64_t at = s->pose_unknowns + i;
        const double move = s->step[at] * s->scale[at], x = s->point[i / 3][i % 3];
        s->next_point[i / 3][i % 3] = x + move;
        step += move * move;
        norm += x * x;
    }
    *size = sqrt(norm);
    return sqrt(step);
}

/* Ceres' evaluation of steps that may go uphill for a while (trust_region_step_evaluator). */
typedef struct Evaluator {
    double minimum, current, reference, candidate, reference_model, candidate_model;
    int nonmonotonic;
} Evaluator;

static double step_quality(const Evaluator *e, double cost, double model)
{
    if (cost >= DBL_MAX)
        return -DBL_MAX;
    const double recent = (e->current - cost) / model;
    const double historical = (e->reference - cost) / (e->reference_model + model);
    return recent > historical ? recent : historical;
}

static void accept(Evaluator *e, double cost, double model)
{
    e->current = cost;
    e->candidate_model += model;
    e->reference_model += model;
    e->nonmonotonic = cost < e->minimum ? 0 : e->nonmonotonic + 1;
    e->minimum = fmin(e->minimum, cost);
    if (e->nonmonotonic == 0 || cost > e->candidate) {
        e->candidate = cost;
        e->candidate_model = 0;
    }
    if (e->nonmonotonic == MAX_NONMONOTONIC) {
        e->reference = e->candidate;
        e->reference_model = e->candidate_model;
    }
}

/* Linearises, scales the columns (scales fixed at the first call) and prepares the damping;
 * returns the largest entry of the gradient without scales. */
static double prepare_step(SpBundleSolver *s, bool first)
{
    double largest = 0;
    for (int64_t i = 0; first && i < s->unknowns; i++)
        s->scale[i] = 1;
    linearise_all(s);
    if (first) {
        for (int64_t i = 0; i < s->unknowns; i++)
            s->scale[i] = 1 / (1 + sqrt(s->diagonal[i]));
        linearise_all(s);
    }
    for (int64_t i = 0; i < s->unknowns; i++) {
        s->diagonal[i] = fmin(fmax(s->diagonal[i], MIN_DIAGONAL), MAX_DIAGONAL);
        largest = fmax(largest, fabs(s->gradient[i] / s->scale[i]));
    }
    return largest;
}

static void minimise(SpBundleSolver *s, SpBundleStats *stats)
{
    double radius = RADIUS, factor = 2, cost = stats->initial_cost;
    Evaluator evaluator = {cost, cost, cost, cost, 0, 0, 0};
    int invalid = 0;
    double gradient = prepare_step(s, true);
    for (int iteration = 0; iteration < MAX_ITERATIONS && radius > MIN_RADIUS; iteration++) {
        double model, size;
        stats->converged = gradient <= GRADIENT_TOLERANCE;
        if (stats->converged)
            return;
        const bool valid = sp_bundle_step(s, radius, &model);
        double quality = -DBL_MAX, next_cost = DBL_MAX;
        if (valid) {
            invalid = 0;
            const double step = take_step(s, &size);
            next_cost = cost_of(s, s->next_pose, s->next_point);
            stats->converged = step <= PARAMETER_TOLERANCE * (size + PARAMETER_TOLERANCE) ||
                               fabs(cost - next_cost) <= FUNCTION_TOLERANCE * cost;
            if (stats->converged)
                return;
            quality = step_quality(&evaluator, next_cost, model);
        } else if (++invalid >= MAX_INVALID) {
            return;
        }
        if (quality > MIN_DECREASE) {
            memcpy(s->pose, s->next_pose, (size_t)s->frames * sizeof *s->pose);
            memcpy(s->point, s->next_point, (size_t)s->points * sizeof *s->point);
            cost = next_cost;
            gradient = prepare_step(s, false);
            const double q = 2 * quality - 1;
            radius = fmin(MAX_RADIUS, radius / fmax(1.0 / 3, 1 - q * q * q));
            factor = 2;
            accept(&evaluator, cost, model);
            stats->successful++;
            if (cost < stats->final_cost) {
                stats->final_cost = cost;
                memcpy(s->best_pose, s->next_pose, (size_t)s->frames * sizeof *s->pose);
            }
        } else {
            stats->unsuccessful++;
            radius /= factor;
            factor *= 2;
        }
    }
}

SpBundleStats SP_FN(sp_bundle_solve)(const SpBundleProblem *problem, void *workspace, float *c2w,
                                     float *k)
{
    SpBundleSolver s = {.frames = problem->frames, .pose_unknowns = POSE * (problem->frames - 1)};
    SpBundleStats stats = {0};
    if (!workspace) /* else, to lay_out, only the size would be asked */
        return stats;
    s.threads = problem->threads > 1 ? problem->threads : 1;
    lay_out(&s, workspace, problem->frames, problem->points);
    memcpy(c2w, problem->c2w, (size_t)(16 * problem->frames) * sizeof *c2w);
    memcpy(k, problem->k, (size_t)(9 * problem->frames) * sizeof *k);
    select_observations(problem, &s);
    if (s.points < MIN_POINTS)
        return stats;
    if (s.observations < WORTH_THREADS)
        s.threads = 1;
    read_poses(problem, &s);
    memcpy(s.best_pose, s.pose, (size_t)s.frames * sizeof *s.pose);
    stats.initial_cost = stats.final_cost = cost_of(&s, s.pose, s.point);
    if (stats.initial_cost >= DBL_MAX)
        return (SpBundleStats){0};
    stats.successful = 1;
    stats.residuals = 2 * s.observations;
    minimise(&s, &stats);
    for (int64_t t = 0; t < s.frames; t++) {
        k[9 * t + 4] = k[9 * t];
        if (t > 0)
            sp_c2w_of_quaternion(s.best_pose[t].q, s.best_pose[t].t, c2w + 16 * t);
    }
    return stats;
}
