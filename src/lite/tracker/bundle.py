"""Bundle adjustment as the reference has it from Ceres (src/tracker/README.md, "Bundle adjustment"):
the cameras but the first and all points, Levenberg-Marquardt with a dense Schur complement, in double."""
import numpy as np

MIN_POINTS, MAX_COORDINATE = 50, 3000.0
MAX_ITERATIONS, NONMONOTONIC, MAX_INVALID = 100, 10, 10
FUNCTION_TOLERANCE, GRADIENT_TOLERANCE, PARAMETER_TOLERANCE = 1e-8, 1e-12, 1e-10


def exponential(d: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3] of rotation vectors [T, 3]."""
    angle = np.linalg.norm(d, axis=1)[:, None, None]
    x, y, z = d.T
    o = np.zeros_like(x)
    cross = np.stack([o, -z, y, z, o, -x, -y, x, o], 1).reshape(-1, 3, 3)
    safe = np.where(angle > 0, angle, 1)
    return np.eye(3) + np.sin(angle) / safe * cross + (1 - np.cos(angle)) / safe ** 2 * (cross @ cross)


class Problem:
    """Arrays are dense over frames and points, [T, P, ...], and zero where there is no observation."""

    def __init__(self, camera: np.ndarray, xy: np.ndarray, seen: np.ndarray):
        self.f, self.centre = camera[:, None, :1], camera[:, None, 1:]
        self.xy, self.seen = xy, seen[..., None]

    def residual(self, r: np.ndarray, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        v = np.einsum("tij,pj->tpi", r, x) + t[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.seen, self.f * v[..., :2] / v[..., 2:] + self.centre - self.xy, 0)

    def cost(self, r: np.ndarray, t: np.ndarray, x: np.ndarray) -> float:
        cost = np.square(self.residual(r, t, x)).sum() / 2
        return cost if np.isfinite(cost) else np.inf

    def linearise(self, r: np.ndarray, t: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Residuals [T, P, 2], Jacobians by camera [T, P, 2, 6] and by point [T, P, 2, 3]. A
        rotation's parameters d rotate by exp([2 d])."""
        rotated = np.einsum("tij,pj->tpi", r, x)
        v = np.where(self.seen, rotated + t[:, None], 1)
        g = np.zeros((*v.shape[:2], 2, 3))
        scale = self.f[..., 0] / v[..., 2] * self.seen[..., 0]
        g[..., 0, 0] = g[..., 1, 1] = scale
        g[..., 0, 2], g[..., 1, 2] = -scale * v[..., 0] / v[..., 2], -scale * v[..., 1] / v[..., 2]
        rotation = 2 * np.cross(rotated[:, :, None], g)
        return self.residual(r, t, x), np.concatenate([rotation, g], -1), g @ r[:, None]


def solve(jc: np.ndarray, jp: np.ndarray, gc: np.ndarray, gp: np.ndarray, dc: np.ndarray,
          dp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of cameras [T - 1, 6] and points [P, 3] for damping dc, dp."""
    frames, points = jc.shape[:2]
    v = np.einsum("tpai,tpaj->pij", jp, jp) + dp[:, :, None] * np.eye(3)
    low = np.linalg.inv(np.linalg.cholesky(v))
    w = np.einsum("tpai,tpaj->tpij", jc, jp[1:]) @ low.transpose(0, 2, 1)
    w = w.transpose(0, 2, 1, 3).reshape(6 * frames, 3 * points)
    schur = -w @ w.T
    for t in range(frames):
        at = slice(6 * t, 6 * t + 6)
        schur[at, at] += np.einsum("pai,paj->ij", jc[t], jc[t]) + np.diag(dc[t])
    half = (low @ gp[:, :, None]).reshape(-1)
    step = np.linalg.solve(schur, w @ half - gc.reshape(-1))
    back = (-half - w.T @ step).reshape(points, 1, 3)
    return step.reshape(frames, 6), (back @ low)[:, 0]


def minimise(problem: Problem, r: np.ndarray, t: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, ...]:
    cost = lowest = reference = candidate = problem.cost(r, t, x)
    best = (r, t, x)
    if not np.isfinite(cost):
        return best
    model_reference = model_candidate = 0.0
    uphill = invalid = 0
    radius, factor, scale = 1.0, 2.0, None
    fresh = True
    for _ in range(MAX_ITERATIONS):
        if fresh:
            e, jc, jp = problem.linearise(r, t, x)
            jc = jc[1:]
            if scale is None:
                scale = [1 / (1 + np.sqrt(np.square(jc).sum((1, 2)))),
                         1 / (1 + np.sqrt(np.square(jp).sum((0, 2))))]
            jc, jp = jc * scale[0][:, None, None], jp * scale[1][:, None]
            gc, gp = np.einsum("tpai,tpa->ti", jc, e[1:]), np.einsum("tpai,tpa->pi", jp, e)
            damp = [np.clip(np.square(jc).sum((1, 2)), 1e-3, 1e10),
                    np.clip(np.square(jp).sum((0, 2)), 1e-3, 1e10)]
            fresh = False
        if max(np.abs(gc / scale[0]).max(), np.abs(gp / scale[1]).max()) <= GRADIENT_TOLERANCE \
                or radius <= 1e-6:
            break
        sc, sp = solve(jc, jp, gc, gp, damp[0] / radius, damp[1] / radius)
        along = np.einsum("tpai,pi->tpa", jp, sp)
        along[1:] += np.einsum("tpai,ti->tpa", jc, sc)
        model = -(along * (e + along / 2)).sum()
        quality = -np.inf
        if model > 0:
            invalid = 0
            move, y = sc * scale[0], x + sp * scale[1]
            rotation = exponential(2 * move[:, :3])
            next_r, next_t = np.concatenate([r[:1], rotation @ r[1:]]), t.copy()
            next_t[1:] += move[:, 3:]
            next_cost = problem.cost(next_r, next_t, y)
            angle = np.linalg.norm(move[:, :3], axis=1)
            moved = np.sqrt((2 - 2 * np.cos(angle)).sum() + np.square(move[:, 3:]).sum() + np.square(y - x).sum())
            size = np.sqrt(len(sc) + np.square(t[1:]).sum() + np.square(x).sum())
            if moved <= PARAMETER_TOLERANCE * (size + PARAMETER_TOLERANCE) \
                    or abs(cost - next_cost) <= FUNCTION_TOLERANCE * cost:
                break
            if np.isfinite(next_cost):
                quality = max((cost - next_cost) / model, (reference - next_cost) / (model_reference + model))
        else:
            invalid += 1
            if invalid >= MAX_INVALID:
                break
        if not quality > 1e-3:
            radius, factor = radius / factor, 2 * factor
            continue
        r, t, x, cost, fresh = next_r, next_t, y, next_cost, True
        radius, factor = min(10, radius / max(1 / 3, 1 - (2 * quality - 1) ** 3)), 2.0
        model_candidate, model_reference = model_candidate + model, model_reference + model
        if cost < lowest:
            lowest = candidate = cost
            best, uphill, model_candidate = (r, t, x), 0, 0.0
        else:
            uphill += 1
            if cost > candidate:
                candidate, model_candidate = cost, 0.0
        if uphill == NONMONOTONIC:
            reference, model_reference = candidate, model_candidate
    return best


def adjust(c2w: np.ndarray, k: np.ndarray, xyz: np.ndarray, xy: np.ndarray, seen: np.ndarray) \
        -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """c2w [T, 4, 4], K [T, 3, 3], points [P, 3], observations [T, P, 2] where seen [T, P]; returns
    c2w, K (with one focal length) and the points."""
    keep = seen.sum(0) >= 2
    if keep.sum() < MIN_POINTS:
        return c2w, k, xyz
    x = xyz[keep].astype(np.float64)
    seen = seen[:, keep] & (x < MAX_COORDINATE).all(1)
    w2c = np.linalg.inv(c2w.astype(np.float64))
    camera = np.stack([k[:, 0, 0], k[:, 0, 2], k[:, 1, 2]], 1).astype(np.float64)
    problem = Problem(camera, xy[:, keep].astype(np.float64), seen)
    r, t, x = minimise(problem, w2c[:, :3, :3], w2c[:, :3, 3], x)
    w2c[:, :3, :3], w2c[:, :3, 3] = r, t
    adjusted, focal, points = np.linalg.inv(w2c).astype(np.float32), k.copy(), xyz.copy()
    adjusted[0] = c2w[0]
    focal[:, 1, 1] = focal[:, 0, 0]
    points[keep] = x
    return adjusted, focal, points
