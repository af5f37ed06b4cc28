'use strict';
/* From where the scene is seen, how it is moved with pointers, and what lies under one of them. */

/* Looks at a target from a distance, turned by yaw and pitch. In mode "follow" it rides along with the clip's camera,
   as it stood to it in the `reference` frame. */
class Orbit {
    constructor() {
        this.moved = false;
    }

    /* Slightly behind the first camera, so that its picture is in sight. */
    home(clip, fov, aspect) {
        const [w, h] = clip.mapSize, lens = clip.lens[0], half = Math.tan(fov * Math.PI / 360);
        const reach = Math.max(w / lens.fx / 2 / (half * aspect), h / lens.fy / 2 / half);
        this.target = apply(clip.poses[0], [0, 0, clip.depth]);
        this.aim(turn(clip.poses[0], [0, 0, 1]));
        this.yaw += 0.18;
        this.pitch = clamp(this.pitch + 0.14, -1.5, 1.5);
        this.distance = clip.depth * Math.max(1.15 * reach, 1.6);
        this.reference = 0;
        this.moved = false;
    }

    aim(forward) {
        this.yaw = Math.atan2(forward[0], forward[2]);
        this.pitch = Math.asin(clamp(forward[1] / Math.hypot(...forward), -1, 1));
    }

    /* As they stand in the page's address. */
    get numbers() {
        return [...this.target, this.yaw, this.pitch, this.distance, this.reference];
    }

    set([x, y, z, yaw, pitch, away, reference]) {
        const frame = Math.max(Math.round(reference), 0);
        Object.assign(this, {target: [x, y, z], yaw, pitch: clamp(pitch, -1.5, 1.5), distance: away, reference: frame});
        this.moved = true;
    }

    /* Takes over from a camera that looked through the clip's. */
    standAt(c2w, away) {
        this.target = apply(c2w, [0, 0, away]);
        this.distance = away;
        this.aim(turn(c2w, [0, 0, 1]));
        this.moved = true;
    }

    get axes() {
        const [s, c, up] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.cos(this.pitch)];
        const forward = [s * up, Math.sin(this.pitch), c * up], right = [c, 0, -s];
        return {right, down: cross(forward, right), forward};
    }

    get pose() {
        const {right, down, forward} = this.axes;
        return pose(subtract(this.target, times(forward, this.distance)), right, down, forward);
    }

    /* From where it stands; turns about this point from then on. */
    lookAt(point) {
        this.distance = distance(point, this.pose.subarray(12, 15));
        this.target = point;
        this.moved = true;
    }

    rotate(dx, dy) {
        this.yaw += dx;
        this.pitch = clamp(this.pitch + dy, -1.5, 1.5);
        this.moved = true;
    }

    /* By shares of the distance. */
    pan(dx, dy) {
        const {right, down} = this.axes;
        this.target = subtract(this.target, add(times(right, dx * this.distance), times(down, dy * this.distance)));
        this.moved = true;
    }

    zoom(by) {
        this.distance = Math.max(this.distance * by, 1e-6);
        this.moved = true;
    }
}

/* From the world to where it was in the reference frame to one who rides along with the clip's camera. */
const ride = (clip, orbit, t) => multiply(clip.poses[Math.min(orbit.reference, clip.frames - 1)], clip.views[t]);

/* {view, lens, rect} for a canvas whose upper left width x height nothing hides; rect: where the clip's picture lies,
   when looking through. */
function cameraOf(clip, settings, orbit, [width, height]) {
    const t = settings.frame, [w, h] = clip.mapSize;
    if (settings.mode === 'through') {
        const scale = Math.min(width / w, height / h), left = (width - w * scale) / 2, top = (height - h * scale) / 2;
        const lens = enlarge(clip.lens[t], scale, left, top);
        return {view: clip.views[t], lens, rect: [left, top, w * scale, h * scale]};
    }
    const f = height / 2 / Math.tan(settings.fov * Math.PI / 360);
    const lens = {fx: f, fy: f, skew: 0, cx: (width - 1) / 2, cy: (height - 1) / 2};
    const view = invert(orbit.pose);
    return {view: settings.mode === 'follow' ? multiply(view, ride(clip, orbit, t)) : view, lens};
}

/* Field of view of the clip's camera in degrees, across and down. */
function fieldOfView(clip, t) {
    const {fx, fy} = clip.lens[t], [w, h] = clip.mapSize;
    return [w / fx, h / fy].map(x => 2 * Math.atan(x / 2) * 180 / Math.PI);
}

const isAbove = (byte, limit) => limit === 0 || byte > 255 * limit;

function isShown(clip, settings, t, n) {
    const i = 2 * (t * clip.tracks + n);
    return isAbove(clip.seen[i], settings.visibility) && isAbove(clip.seen[i + 1], settings.trackConfidence) &&
        !(clip.object && settings.hidden.has(clip.object[n]));
}

/* The track whose ball is nearest to (x, y), within `reach` pixels; -1: none. */
function trackAt(clip, settings, camera, x, y, reach) {
    let best = -1;
    for (let n = 0; settings.tracks && n < clip.tracks; n++) {
        const p = apply(camera.view, pointOf(clip, settings.frame, n)), at = pixel(camera.lens, p);
        const away = Math.hypot(at[0] - x, at[1] - y);
        if (p[2] > 0 && away < reach && isShown(clip, settings, settings.frame, n)) {
            reach = away;
            best = n;
        }
    }
    return best;
}

/* The pixel of the depth map that is seen at (x, y): {x, y, depth, point}; null: none. */
function pixelAt(clip, settings, camera, x, y) {
    const t = settings.frame, {maps} = clip;
    if (!maps || !settings.cloud)
        return null;
    const [low, high] = depthRange(clip, settings), toView = multiply(camera.view, clip.poses[t]), lens = clip.lens[t];
    let best = null, nearest = Infinity;
    for (let i = 0, at = t * maps.w * maps.h; i < maps.w * maps.h; i++, at++) {
        const depth = maps.depth[at];
        if (!depth || depth < low || depth > high || maps.rgba[4 * at + 3] / 255 < settings.confidence - 1e-4)
            continue;
        const u = i % maps.w, v = Math.floor(i / maps.w), seen = times(ray(lens, u, v), depth);
        const p = apply(toView, seen), side = 0.5 * settings.pointSize * camera.lens.fx / lens.fx * depth / p[2] + 1;
        if (p[2] <= 0 || p[2] >= nearest)
            continue;
        const [px, py] = pixel(camera.lens, p);
        if (Math.abs(px - x) < side && Math.abs(py - y) < side) {
            nearest = p[2];
            best = {x: u, y: v, depth, index: at, point: apply(clip.poses[t], seen)};
        }
    }
    return best;
}

/* Drags, pinches, wheels and taps on the canvas. act: {turn, pan, zoom, hover, tap, focus} in CSS pixels. */
function watchPointers(canvas, act) {
    const held = new Map();
    let travelled = 0;
    const middle = () => times([...held.values()].reduce((sum, p) => [sum[0] + p[0], sum[1] + p[1]]), 1 / held.size);
    const spread = () => {
        const [a, b] = [...held.values()];
        return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
    };
    canvas.addEventListener('pointerdown', event => {
        canvas.setPointerCapture(event.pointerId);
        held.set(event.pointerId, [event.offsetX, event.offsetY]);
        travelled = held.size > 1 ? Infinity : 0;
    });
    canvas.addEventListener('pointermove', event => {
        if (!held.has(event.pointerId))
            return event.pointerType === 'mouse' && act.hover(event.offsetX, event.offsetY);
        const [x, y] = middle(), wide = spread();
        held.set(event.pointerId, [event.offsetX, event.offsetY]);
        const [dx, dy] = subtract([...middle(), 0], [x, y, 0]);
        travelled += Math.abs(dx) + Math.abs(dy);
        if (travelled < 4)
            return;
        if (held.size > 1) {
            act.pan(dx, dy);
            act.zoom(wide / Math.max(spread(), 1));
        } else if (event.shiftKey || event.buttons & 6)
            act.pan(dx, dy);
        else
            act.turn(dx, dy);
    });
    const release = event => {
        if (held.delete(event.pointerId) && travelled < 4 && event.type === 'pointerup')
            act.tap(event.offsetX, event.offsetY);
    };
    canvas.addEventListener('pointerup', release);
    canvas.addEventListener('pointercancel', release);
    canvas.addEventListener('pointerleave', () => act.hover(-1, -1));
    canvas.addEventListener('contextmenu', event => event.preventDefault());
    canvas.addEventListener('dblclick', event => act.focus(event.offsetX, event.offsetY));
    canvas.addEventListener('wheel', event => {
        event.preventDefault();
        act.zoom(Math.exp(clamp(event.deltaY * (event.deltaMode ? 30 : 1), -200, 200) * 0.0015));
    }, {passive: false});
}
