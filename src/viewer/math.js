'use strict';
/* Vectors are arrays of 3; matrices of 4 x 4 are Float32Arrays, column by column, as WebGL takes them. Axes are
   those of the result: x right, y down, z forward. */

const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const times = (a, s) => a.map(x => x * s);
const subtract = (a, b) => add(a, times(b, -1));
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

function multiply(a, b) {
    const m = new Float32Array(16);
    for (let j = 0; j < 4; j++)
        for (let i = 0; i < 4; i++)
            for (let n = 0; n < 4; n++)
                m[4 * j + i] += a[4 * n + i] * b[4 * j + n];
    return m;
}

/* m of a point. */
const apply = (m, p) => [0, 1, 2].map(i => m[i] * p[0] + m[4 + i] * p[1] + m[8 + i] * p[2] + m[12 + i]);

/* m of a direction. */
const turn = (m, d) => [0, 1, 2].map(i => m[i] * d[0] + m[4 + i] * d[1] + m[8 + i] * d[2]);

/* From where a camera stands and its axes to the matrix from camera to world. */
const pose = (eye, right, down, forward) => new Float32Array([...right, 0, ...down, 0, ...forward, 0, ...eye, 1]);

/* [R | t] to [R^T | -R^T t]. */
function invert(m) {
    const eye = [m[12], m[13], m[14]];
    const out = new Float32Array([m[0], m[4], m[8], 0, m[1], m[5], m[9], 0, m[2], m[6], m[10], 0, 0, 0, 0, 1]);
    out.set(times(turn(out, eye), -1), 12);
    return out;
}

/* A lens is {fx, fy, cx, cy, skew} in pixels, whose centres are whole numbers. This is the ray through a pixel, 1
   deep. */
function ray(lens, x, y) {
    const v = (y - lens.cy) / lens.fy;
    return [(x - lens.cx - lens.skew * v) / lens.fx, v, 1];
}

/* The pixel that shows a point of the camera. */
const pixel = (lens, p) => [(lens.fx * p[0] + lens.skew * p[1]) / p[2] + lens.cx, lens.fy * p[1] / p[2] + lens.cy];

/* The lens for a picture that is `scale` times as large and begins at (left, top) of a larger one. */
function enlarge(lens, scale, left, top) {
    return {fx: lens.fx * scale, fy: lens.fy * scale, skew: lens.skew * scale,
            cx: (lens.cx + 0.5) * scale + left - 0.5, cy: (lens.cy + 0.5) * scale + top - 0.5};
}

/* From the camera to WebGL's clip space, for a picture of width x height pixels; w is the depth. */
function projection(lens, width, height, near, far) {
    const m = new Float32Array(16);
    m[0] = 2 * lens.fx / width;
    m[4] = 2 * lens.skew / width;
    m[5] = -2 * lens.fy / height;
    m[8] = (2 * lens.cx + 1) / width - 1;
    m[9] = 1 - (2 * lens.cy + 1) / height;
    m[10] = (far + near) / (far - near);
    m[11] = 1;
    m[14] = -2 * far * near / (far - near);
    return m;
}

const median = values => [...values].sort((a, b) => a - b)[values.length >> 1];
const quantile = (values, share) => values.sort((a, b) => a - b)[Math.round(share * (values.length - 1))];
