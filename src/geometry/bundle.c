#include "geometry/bundle_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "geometry/camera.h"

enum { MIN_POINTS = 50, MAX_ITERATIONS = 100, MAX_NONMONOTONIC = 10, MAX_INVALID = 10 };
static const double RADIUS = 1, MAX_RADIUS = 10, MIN_RADIUS = 1e-6;
static const double MIN_DIAGONAL = 1e-3, MAX_DIAGONAL = 1e10, MIN_DECREASE = 1e-3;
static const double FUNCTION_TOLERANCE = 1e-8, GRADIENT_TOLERANCE = 1e-12;
static const double PARAMETER_TOLERANCE = 1e-10, MAX_COORDINATE = 3000;

static void *alloc(char *base, size_t *used, size_t count, size_t size)
{
    void *at = base ? base + *used : NULL;
    *used += (count * size + 15) / 16 * 16;
    return at;
}

/* Lays the solver's arrays out from `base`; returns the bytes they take. base NULL only counts. */
static size_t lay_out(SpBundleSolver *s, char *base, int64_t frames, int64_t points)
{
    const size_t t = (size_t)frames, p = (size_t)points, n = POSE * t, d = sizeof(double);
    const size_t unknowns = n + 3 * p;
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
    s->schur = alloc(base, &used, n * n, d);
    s->eliminated = alloc(base, &used, n * 3 * BLOCK_POINTS, d);
    s->inverse = alloc(base, &used, 9 * p, d);
    return used;
}

size_t sp_bundle_workspace(int64_t frames, int64_t points)
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

/* The rotation r of the pose, the rotated point R x, and the residual; false when the point cannot
 * be projected. */
static bool project(const double camera[3], const SpBundlePose *pose, const double x[3],
                    const double xy[2], double r[9], double rotated[3], double residual[2])
{
    sp_rotation_of_quaternion(pose->q, r);
    for (int i = 0; i < 3; i++)
        rotated[i] = r[3 * i] * x[0] + r[3 * i + 1] * x[1] + r[3 * i + 2] * x[2];
    const double z = rotated[2] + pose->t[2];
    for (int i = 0; i < 2; i++)
        residual[i] = camera[0] * ((rotated[i] + pose->t[i]) / z) + camera[1 + i] - xy[i];
    return isfinite(residual[0]) && isfinite(residual[1]);
}

static double cost_of(const SpBundleSolver *s, const SpBundlePose *pose, double (*point)[3])
{
    double cost = 0, r[9], rotated[3], residual[2];
    for (int64_t i = 0; i < s->observations; i++) {
        const SpBundleObservation *o = &s->obs[i];
        if (!project(s->camera[o->frame], &pose[o->frame], point[o->point], o->xy, r, rotated,
                     residual))
            return DBL_MAX;
        cost += residual[0] * residual[0] + residual[1] * residual[1];
    }
    return cost / 2;
}

/* Residuals and Jacobians at the present state. A rotation's parameters d rotate by exp([2 d]). */
static void linearise(SpBundleSolver *s)
{
    for (int64_t i = 0; i < s->observations; i++) {
        SpBundleObservation *o = &s->obs[i];
        double r[9], v[3];
        const double *camera = s->camera[o->frame], *t = s->pose[o->frame].t;
        project(camera, &s->pose[o->frame], s->point[o->point], o->xy, r, v, o->residual);
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
        }
    }
}

/* Squared norms of the columns of the Jacobian. */
static void column_norms(const SpBundleSolver *s, double *norm)
{
    memset(norm, 0, (size_t)s->unknowns * sizeof *norm);
    for (int64_t i = 0; i < s->observations; i++) {
        const SpBundleObservation *o = &s->obs[i];
        for (int a = 0; a < 2; a++)
            for (int j = 0; j < UNKNOWNS; j++)
                if (sp_bundle_free(o, j))
                    norm[sp_bundle_unknown(s, o, j)] += o->jacobian[a][j] * o->jacobian[a][j];
    }
}

static void scale_jacobian(SpBundleSolver *s)
{
    for (int64_t i = 0; i < s->observations; i++) {
        SpBundleObservation *o = &s->obs[i];
        for (int a = 0; a < 2; a++)
            for (int j = 0; j < UNKNOWNS; j++)
                if (sp_bundle_free(o, j))
                    o->jacobian[a][j] *= s->scale[sp_bundle_unknown(s, o, j)];
    }
}

/* J^T r of the scaled Jacobian; returns its largest entry before scaling. */
static double gradients(SpBundleSolver *s)
{
    double largest = 0;
    memset(s->gradient, 0, (size_t)s->unknowns * sizeof *s->gradient);
    for (int64_t i = 0; i < s->observations; i++) {
        const SpBundleObservation *o = &s->obs[i];
        for (int a = 0; a < 2; a++)
            for (int j = 0; j < UNKNOWNS; j++)
                if (sp_bundle_free(o, j))
                    s->gradient[sp_bundle_unknown(s, o, j)] += o->jacobian[a][j] * o->residual[a];
    }
    for (int64_t i = 0; i < s->unknowns; i++)
        largest = fmax(largest, fabs(s->gradient[i] / s->scale[i]));
    return largest;
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
 * returns the gradient's largest entry. */
static double prepare_step(SpBundleSolver *s, bool first)
{
    linearise(s);
    if (first) {
        column_norms(s, s->scale);
        for (int64_t i = 0; i < s->unknowns; i++)
            s->scale[i] = 1 / (1 + sqrt(s->scale[i]));
    }
    scale_jacobian(s);
    column_norms(s, s->diagonal);
    for (int64_t i = 0; i < s->unknowns; i++)
        s->diagonal[i] = fmin(fmax(s->diagonal[i], MIN_DIAGONAL), MAX_DIAGONAL);
    return gradients(s);
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

SpBundleStats sp_bundle_adjust(const SpBundleProblem *problem, void *workspace, float *c2w,
                               float *k)
{
    SpBundleSolver s = {.frames = problem->frames, .pose_unknowns = POSE * (problem->frames - 1)};
    SpBundleStats stats = {0};
    lay_out(&s, workspace, problem->frames, problem->points);
    memcpy(c2w, problem->c2w, (size_t)(16 * problem->frames) * sizeof *c2w);
    memcpy(k, problem->k, (size_t)(9 * problem->frames) * sizeof *k);
    select_observations(problem, &s);
    if (s.points < MIN_POINTS)
        return stats;
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
