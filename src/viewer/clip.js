'use strict';
/* A result as the page draws it, of a tracks.npz or of the smaller arrays within the page
   (src/output/README.md, "Viewer"). */

/* In the page, depth is a number of steps, each this share of it, from the nearest on; 0: there is none. */
const DEPTH_STEP = 0.0005;
/* A share of the way from the nearest to the farthest depth, evenly in its logarithm. */
const depthAt = (clip, share) => clip.nearest * (clip.farthest / clip.nearest) ** share;
/* The depths that are shown, a little wider than they are set, as they are rounded. */
const depthRange = (clip, settings) =>
    [depthAt(clip, settings.nearest) * (1 - 1e-5), depthAt(clip, settings.farthest) * (1 + 1e-5)];
/* 0..1 as a byte, above 127 where the value is above a half. */
const byteOf = value => clamp(Math.ceil(255 * value - 0.5), 0, 255) || 0;

/* Predicts each byte of planes of h x w from those to the left and above (median edge detection; Weinberger,
   Seroussi, Sapiro 2000) and adds what is stored. `high`: the upper bytes of a zigzagged 16 bits, or null. */
function undoPrediction(low, high, out, h, w) {
    for (let i = 0; i < out.length; i++) {
        const x = i % w, y = Math.floor(i / w) % h;
        const left = x ? out[i - 1] : 0, up = y ? out[i - w] : 0, corner = x && y ? out[i - w - 1] : 0;
        const most = Math.max(left, up), least = Math.min(left, up);
        const guess = corner >= most ? least : corner <= least ? most : left + up - corner;
        const stored = high ? low[i] | high[i] << 8 : low[i];
        out[i] = guess + (high ? stored >> 1 ^ -(stored & 1) : stored);
    }
}

/* Y, Co, Cg at half the size, as rgba with the trust in a. */
function toColours(luma, chroma, trust, rgba, h, w) {
    const cw = (w + 1) >> 1, ch = (h + 1) >> 1;
    for (let i = 0; i < h * w; i++) {
        const c = (Math.floor(i / w) >> 1) * cw + (i % w >> 1);
        const y = luma[i], co = chroma[c] - 128, cg = chroma[cw * ch + c] - 128;
        rgba[4 * i] = clamp(y - cg + co, 0, 255);
        rgba[4 * i + 1] = clamp(y + cg, 0, 255);
        rgba[4 * i + 2] = clamp(y - cg - co, 0, 255);
        rgba[4 * i + 3] = trust[i];
    }
}

async function packedMaps(npz, near) {
    const [depth, trust, picture] = await Promise.all(['depth', 'trust', 'picture'].map(name => npz.array(name)));
    if (!depth)
        return null;
    const [frames, , h, w] = depth.shape, pixels = h * w;
    const ch = (h + 1) >> 1, cw = (w + 1) >> 1, bytes = pixels + 2 * ch * cw;
    const maps = {w, h, depth: new Float32Array(frames * pixels), rgba: new Uint8Array(4 * frames * pixels).fill(128)};
    const depths = Float32Array.from({length: 65536}, (_, code) => code && near * Math.exp(DEPTH_STEP * (code - 1)));
    const codes = new Uint16Array(pixels);
    const luma = new Uint8Array(pixels).fill(128), chroma = new Uint8Array(2 * ch * cw).fill(128);
    const trusted = new Uint8Array(pixels).fill(255);
    for (let t = 0; t < frames; t++) {
        const low = 2 * t * pixels, high = low + pixels;
        undoPrediction(depth.data.subarray(low, high), depth.data.subarray(high, high + pixels), codes, h, w);
        codes.forEach((code, i) => { maps.depth[t * pixels + i] = depths[code]; });
        if (trust)
            undoPrediction(trust.data.subarray(t * pixels), null, trusted, h, w);
        if (picture) {
            undoPrediction(picture.data.subarray(t * bytes), null, luma, h, w);
            undoPrediction(picture.data.subarray(t * bytes + pixels), null, chroma, ch, cw);
        }
        toColours(luma, chroma, trusted, maps.rgba.subarray(4 * t * pixels), h, w);
    }
    return maps;
}

/* Points as whole numbers of a unit, the difference to the frame before, zigzagged, in planes of bytes. */
async function packedPoints(npz, unit) {
    const array = await npz.array('points');
    if (!array)
        return null;
    const [frames, , tracks] = array.shape, count = 3 * tracks, sum = new Int32Array(count);
    const points = new Float32Array(frames * count);
    for (let t = 0; t < frames; t++)
        for (let i = 0; i < count; i++) {
            const at = 4 * t * count + i, d = array.data;
            const stored = (d[at] | d[at + count] << 8 | d[at + 2 * count] << 16 | d[at + 3 * count] << 24) >>> 0;
            sum[i] += stored >>> 1 ^ -(stored & 1);
            points[t * count + i] = sum[i] * unit;
        }
    return {tracks, points, seen: (await npz.array('seen')).data};
}

async function plainMaps(npz) {
    const depths = await npz.array('depths') || await npz.array('depth');
    if (!depths)
        return null;
    const shape = depths.shape.filter((n, axis) => axis === 0 || n > 1), [frames, h, w] = shape, pixels = h * w;
    const video = await npz.array('video'), trust = await npz.array('confs_depth') || await npz.array('unc_metric');
    const maps = {w, h, depth: Float32Array.from(depths.data, d => d > 0 && d < Infinity ? d : 0),
                  rgba: new Uint8Array(4 * frames * pixels).fill(128)};
    const scale = video && video.data instanceof Uint8Array ? 1 : 255;
    for (let i = 0; i < frames * pixels; i++) {
        const place = 3 * i - 2 * (i % pixels);  /* of [T, 3, h, w] */
        for (let c = 0; video && c < 3; c++)
            maps.rgba[4 * i + c] = clamp(Math.round(video.data[place + c * pixels] * scale), 0, 255);
        maps.rgba[4 * i + 3] = trust ? byteOf(trust.data[i]) : 255;
    }
    return maps;
}

async function plainPoints(npz) {
    const coords = await npz.array('coords'), visibs = await npz.array('visibs'), confs = await npz.array('confs');
    if (!coords)
        return null;
    const [frames, tracks] = coords.shape, seen = new Uint8Array(2 * frames * tracks);
    for (let i = 0; i < frames * tracks; i++) {
        seen[2 * i] = visibs ? byteOf(visibs.data[i]) : 255;
        seen[2 * i + 1] = confs ? byteOf(confs.data[i]) : 255;
    }
    return {tracks, points: Float32Array.from(coords.data), seen};
}

const lensOf = (k, t) => ({fx: k[9 * t], skew: k[9 * t + 1], cx: k[9 * t + 2], fy: k[9 * t + 4], cy: k[9 * t + 5]});

/* c2w a frame, of w2c [T, 4 or 3, 4]; the identity where there are none. */
function posesOf(extrinsics, frames) {
    const poses = [];
    for (let t = 0; t < frames; t++) {
        const m = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        const size = extrinsics ? 4 * extrinsics.shape.at(-2) : 0;
        for (let i = 0; i < Math.min(size, 12); i++)
            m[4 * (i % 4) + (i >> 2)] = extrinsics.data[size * t + i];
        poses.push(invert(m));
    }
    return poses;
}

/* The overlay's colours (src/output/palette.c): round the rainbow by the rows in which tracks start. */
function rainbow(starts) {
    const order = starts.map((_, n) => n)
        .sort((a, b) => starts[a][1] - starts[b][1] || starts[a][0] - starts[b][0] || a - b);
    const colours = [];
    order.forEach((track, i) => {
        const hue = 0.82 * i / Math.max(order.length - 1, 1);
        colours[track] = [0, 1, 2].map(c =>
            Math.round(255 * (0.2 + 0.8 * clamp(Math.abs((6 * hue + 2 * (3 - c) % 6) % 6 - 3) - 1, 0, 1))));
    });
    return colours;
}

/* Where each track starts: [x, y] in pixels of the input, and its frame. */
function startsOf(clip, queries) {
    const starts = [];
    for (let n = 0; n < clip.tracks; n++) {
        const t = queries ? clamp(queries.data[3 * n], 0, clip.frames - 1) | 0 : 0;
        starts.push([...(queries ? queries.data.subarray(3 * n + 1, 3 * n + 3) : inputPixel(clip, t, n)), t]);
    }
    return starts;
}

const pointOf = (clip, t, n) => clip.points.subarray(3 * (t * clip.tracks + n), 3 * (t * clip.tracks + n) + 3);
const inputPixel = (clip, t, n) => pixel(clip.inputLens[t], apply(clip.views[t], pointOf(clip, t, n)));

/* The colour that the picture has where a track starts. */
function pictureColours(clip) {
    return clip.starts.map(([, , t], n) => {
        if (!clip.maps)
            return [160, 160, 160];
        const {w, h, rgba} = clip.maps, at = pixel(clip.lens[t], apply(clip.views[t], pointOf(clip, t, n)));
        const x = clamp(Math.round(at[0]) || 0, 0, w - 1), y = clamp(Math.round(at[1]) || 0, 0, h - 1);
        const i = 4 * ((t * h + y) * w + x);
        return [...rgba.subarray(i, i + 3)];
    });
}

/* How far each point moved to reach each frame, as a share of what 95 % of the moving ones stay below. */
function speedsOf(clip) {
    const speeds = new Float32Array(clip.frames * clip.tracks);
    for (let t = 1; t < clip.frames; t++)
        for (let n = 0; n < clip.tracks; n++)
            speeds[t * clip.tracks + n] = distance(pointOf(clip, t, n), pointOf(clip, t - 1, n)) || 0;
    speeds.copyWithin(0, clip.tracks, 2 * clip.tracks);
    const most = quantile(speeds.filter(s => s > 0), 0.95) || 1;
    return speeds.map(s => Math.min(s / most, 1));
}

/* Where there is no K: 60 degrees across. */
function guessLens(w, h, frames) {
    const f = w / 2 / Math.tan(Math.PI / 6);
    return new Float32Array(9 * frames).map((_, i) => [f, 0, (w - 1) / 2, 0, f, (h - 1) / 2, 0, 0, 1][i % 9]);
}

async function readClip(buffer, name) {
    const npz = new Npz(buffer);
    const page = JSON.parse(await npz.text('page') || '{}');
    const maps = npz.has('page') ? await packedMaps(npz, page.near) : await plainMaps(npz);
    const moving = npz.has('page') ? await packedPoints(npz, page.unit) : await plainPoints(npz);
    if (!maps && !moving)
        throw new Error('it has neither depths nor coords');
    const get = async key => (await npz.array(key))?.data;
    const clip = {name: page.name || name, note: page.note || '', maps, tracks: moving ? moving.tracks : 0,
                  points: moving?.points, seen: moving?.seen, objectNames: await get('object_names') || []};
    clip.frames = maps ? maps.depth.length / maps.w / maps.h : moving.points.length / 3 / moving.tracks;
    const k = await get('intrinsics'), input = await get('intrinsics_input') || k, size = await get('size');
    const guessed = k ? [Math.round(2 * k[2]), Math.round(2 * k[5])] : [512, 512];
    clip.size = size ? [...size] : maps ? [maps.w, maps.h] : guessed;
    clip.mapSize = maps ? [maps.w, maps.h] : clip.size;
    const all = (values, [w, h]) => posesOf(null, clip.frames)
        .map((_, t) => lensOf(values || guessLens(w, h, clip.frames), values && values.length === 9 ? 0 : t));
    clip.lens = all(maps ? k : input, clip.mapSize);
    clip.inputLens = all(input, clip.size);
    clip.poses = posesOf(await npz.array('extrinsics'), clip.frames);
    clip.views = clip.poses.map(invert);
    clip.times = await get('timestamps') || null;
    clip.index = await get('frame_index') || null;
    clip.rate = page.rate || rateOf(clip.times);
    clip.object = clip.tracks ? await get('object') || null : null;
    clip.dynamic = await get('dynamic') || null;
    clip.starts = clip.tracks ? startsOf(clip, await npz.array('queries')) : [];
    return Object.assign(clip, extentOf(clip));
}

const rateOf = times => times && times.length > 1 ? (times.length - 1) / (times.at(-1) - times[0]) || 24 : 24;

/* How deep the first frame is, and where its floor lies (y of the world). */
function extentOf(clip) {
    const points = [], {maps} = clip;
    if (maps) {
        const every = Math.max(1, Math.floor(Math.sqrt(maps.w * maps.h / 4000)));
        for (let y = 0; y < maps.h; y += every)
            for (let x = 0; x < maps.w; x += every)
                if (maps.depth[y * maps.w + x])
                    points.push(times(ray(clip.lens[0], x, y), maps.depth[y * maps.w + x]));
    } else
        for (let n = 0; n < clip.tracks; n++)
            points.push(apply(clip.views[0], pointOf(clip, 0, n)));
    const inFront = points.filter(p => p[2] > 0);
    const depths = inFront.map(p => p[2]);
    return {depth: depths.length ? median(depths) : 1,
            nearest: maps ? maps.depth.reduce((least, d) => d && d < least ? d : least, Infinity) : 1,
            farthest: maps ? maps.depth.reduce((most, d) => Math.max(most, d), 0) : 1,
            floor: inFront.length ? quantile(inFront.map(p => apply(clip.poses[0], p)[1]), 0.98) : 1};
}
