'use strict';
/* The scene in WebGL 2: a clip, the settings of settings.js and a camera in, a picture out. */

/* matplotlib's inferno as in src/output/palette.c, and colours that objects are told apart by. */
const INFERNO = [[0, 0, 4], [33, 12, 74], [87, 16, 110], [138, 34, 106], [188, 55, 84], [228, 90, 49], [249, 142, 9],
                 [249, 203, 53], [252, 255, 164]];
const OBJECTS = [[64, 150, 255], [255, 146, 43], [47, 190, 125], [238, 84, 97], [160, 115, 235], [242, 196, 58],
                 [45, 190, 205], [240, 120, 190]];
const ROW = 1024;  /* points a row of a texture */
const MOST_TEXTURES = 48;  /* frames whose maps the card holds */

function rampColour(share) {
    const at = 8 * clamp(share, 0, 1), i = Math.min(Math.floor(at), 7);
    return INFERNO[i].map((low, c) => low + (at - i) * (INFERNO[i + 1][c] - low));
}

class Painter {
    constructor(canvas) {
        const gl = this.gl = canvas.getContext('webgl2', {antialias: false, alpha: false});
        if (!gl)
            throw new Error('this browser has no WebGL 2');
        this.canvas = canvas;
        this.programs = new Map();
        gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
        gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
        gl.enable(gl.DEPTH_TEST);
        gl.depthFunc(gl.LEQUAL);
        this.textures = new Map();
        this.lists = {};
        this.step = 1;  /* every such pixel of every such row is in the cloud */
    }

    /* A program of a file, with its uniforms by name. */
    compile(name, defines) {
        const gl = this.gl, program = gl.createProgram(), text = document.getElementById(name + '.glsl').textContent;
        for (const [kind, define] of [[gl.VERTEX_SHADER, '#define VERTEX\n'], [gl.FRAGMENT_SHADER, '']]) {
            const shader = gl.createShader(kind);
            gl.shaderSource(shader, '#version 300 es\n' + define + defines + text);
            gl.compileShader(shader);
            gl.attachShader(program, shader);
            if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS))
                throw new Error(`${name}: ${gl.getShaderInfoLog(shader)}`);
        }
        gl.linkProgram(program);
        const at = {program};
        for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
            const uniform = gl.getActiveUniform(program, i).name.replace('[0]', '');
            at[uniform] = gl.getUniformLocation(program, uniform);
        }
        return at;
    }

    setClip(clip) {
        for (const pair of this.textures.values())
            pair.forEach(texture => this.gl.deleteTexture(texture));
        this.textures.clear();
        this.clip = clip;
        this.tinted = null;
        if (!clip.tracks)
            return;
        this.fill('points', clip.points, 3);
        this.fill('seen', clip.seen, 2);
        this.starts = {track: rainbow(clip.starts), picture: pictureColours(clip)};
        this.speeds = speedsOf(clip);
    }

    /* Values of points as a texture, ROW a row. */
    fill(name, data, size) {
        const {gl} = this, rows = Math.ceil(data.length / size / ROW), full = new data.constructor(rows * ROW * size);
        const [inner, format, type] = {2: [gl.RG8, gl.RG, gl.UNSIGNED_BYTE], 3: [gl.RGB32F, gl.RGB, gl.FLOAT],
                                       4: [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE]}[size];
        full.set(data);
        this.lists[name] = this.texture(inner, ROW, rows, format, type, full, this.lists[name]);
    }

    texture(inner, width, height, format, type, data, texture = this.gl.createTexture()) {
        const {gl} = this;
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.texImage2D(gl.TEXTURE_2D, 0, inner, width, height, 0, format, type, data);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
        return texture;
    }

    /* Binds textures to units 0, 1, ... and the program's samplers of those names to them. */
    bind(at, textures) {
        const {gl} = this;
        Object.entries(textures).forEach(([name, texture], unit) => {
            gl.activeTexture(gl.TEXTURE0 + unit);
            gl.bindTexture(gl.TEXTURE_2D, texture);
            gl.uniform1i(at[name], unit);
        });
        gl.activeTexture(gl.TEXTURE0);
    }

    /* The colours of tracks, made again when what they depend on changes; alpha 0: not shown. */
    tint(settings) {
        const {clip} = this, key = settings.trackColour + [...settings.hidden].join();
        if (this.tinted === key)
            return;
        this.tinted = key;
        const tints = new Uint8Array(4 * clip.frames * clip.tracks);
        const colourOf = {
            track: (t, n) => this.starts.track[n],
            picture: (t, n) => this.starts.picture[n],
            time: t => rampColour(0.3 + 0.7 * t / Math.max(clip.frames - 1, 1)),
            object: (t, n) => OBJECTS[(clip.object ? clip.object[n] : 0) % OBJECTS.length],
            motion: (t, n) => rampColour(0.3 + 0.7 * this.speeds[t * clip.tracks + n]),
        }[settings.trackColour];
        for (let t = 0, i = 0; t < clip.frames; t++)
            for (let n = 0; n < clip.tracks; n++, i++) {
                tints.set(colourOf(t, n), 4 * i);
                tints[4 * i + 3] = clip.object && settings.hidden.has(clip.object[n]) ? 0 : 255;
            }
        this.fill('tints', tints, 4);
    }

    /* [depth, picture] of a frame. */
    texturesOf(t) {
        const {gl, clip: {maps}} = this, pixels = maps.w * maps.h;
        if (this.textures.has(t))
            return this.textures.get(t);
        if (this.textures.size >= MOST_TEXTURES) {
            const [oldest, pair] = this.textures.entries().next().value;
            pair.forEach(texture => gl.deleteTexture(texture));
            this.textures.delete(oldest);
        }
        const depth = maps.depth.subarray(t * pixels, (t + 1) * pixels);
        const rgba = maps.rgba.subarray(4 * t * pixels, 4 * (t + 1) * pixels);
        const pair = [this.texture(gl.R32F, maps.w, maps.h, gl.RED, gl.FLOAT, depth),
                      this.texture(gl.RGBA8, maps.w, maps.h, gl.RGBA, gl.UNSIGNED_BYTE, rgba)];
        this.textures.set(t, pair);
        return pair;
    }

    /* The program of a file with these words defined. */
    use(name, view, ...words) {
        const {gl} = this, key = [name, ...words].join(' ');
        if (!this.programs.has(key))
            this.programs.set(key, this.compile(name, words.map(word => `#define ${word}\n`).join('')));
        const at = this.programs.get(key);
        gl.useProgram(at.program);
        gl.uniformMatrix4fv(at.view, false, view);
        gl.uniformMatrix4fv(at.projection, false, this.projection);
        return at;
    }

    /* Clears, and draws all that the settings show. camera: {view, lens} of the canvas. */
    paint(settings, camera, background, ink) {
        const {gl, canvas, clip} = this;
        this.camera = camera;
        this.ratio = canvas.width / canvas.clientWidth;
        this.projection = projection(camera.lens, canvas.width, canvas.height, clip.depth / 200, clip.depth * 200);
        gl.viewport(0, 0, canvas.width, canvas.height);
        gl.clearColor(...background.map(c => c / 255), 1);
        gl.depthMask(true);
        gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
        gl.enable(gl.BLEND);
        this.paintLines([...(settings.grid ? this.grid(ink) : []), ...(settings.axes ? this.axes() : [])], 1.2);
        const clear = settings.cloud && settings.opacity < 1;
        if (clear)
            this.paintThings(settings, ink);
        if (settings.cloud && clip.maps)
            this.paintClouds(settings);
        this.paintThings(settings, ink);
    }

    paintThings(settings, ink) {
        if (settings.cameras)
            this.paintLines(this.cameraLines(settings, ink), 1.6);
        if (settings.tracks && this.clip.tracks)
            this.paintTracks(settings);
    }

    /* The current frame's, below it those that are kept. What is not opaque is drawn twice: its depth alone first, so
       that of what it hides of itself nothing shines through. */
    paintClouds(settings) {
        const {gl} = this, frames = [settings.frame];
        const earliest = settings.keep ? 0 : settings.frame;
        for (let t = settings.frame - settings.stride; t >= earliest && frames.length < MOST_TEXTURES; t -= settings.stride)
            frames.push(t);
        const passes = settings.opacity < 1 ? [false, true] : [true];
        gl.depthMask(true);
        for (const shown of passes) {
            gl.colorMask(shown, shown, shown, shown);
            frames.forEach(t => this.paintCloud(settings, t));
        }
    }

    paintCloud(settings, t) {
        const {gl, clip, camera} = this, {maps} = clip, lens = clip.lens[t];
        const words = [settings.edge < EDGE_NEVER && 'CUT', settings.cloudColour !== 'picture' && 'RAMP'].filter(word => word);
        const at = this.use('cloud', multiply(camera.view, clip.poses[t]), ...words);
        const [depth, picture] = this.texturesOf(t);
        this.bind(at, {depth, picture});
        gl.uniformMatrix3fv(at.rays, false, [1 / lens.fx, 0, 0, -lens.skew / lens.fx / lens.fy, 1 / lens.fy, 0,
                                             (lens.skew * lens.cy / lens.fy - lens.cx) / lens.fx, -lens.cy / lens.fy, 1]);
        gl.uniform1f(at.least, settings.confidence - 1e-4);
        gl.uniform1f(at.edge, 1 + settings.edge);
        gl.uniform2f(at.range, ...depthRange(clip, settings));
        gl.uniform1f(at.size, this.step * settings.pointSize * camera.lens.fx / lens.fx);
        gl.uniform1f(at.opacity, settings.opacity);
        gl.uniform1i(at.byDepth, settings.cloudColour === 'depth');
        gl.uniform3fv(at.ramp, INFERNO.flat().map(c => c / 255));
        gl.uniform1i(at.step_, this.step);
        gl.drawArrays(gl.POINTS, 0, Math.ceil(maps.w / this.step) * Math.ceil(maps.h / this.step));
    }

    /* Points lie frame by frame, so that all segments of the trails are neighbours, from a frame to the next. */
    paintTracks(settings) {
        const {gl, clip, canvas, camera} = this, t = settings.frame;
        const length = Math.min(settings.trail, t), first = (t - length) * clip.tracks;
        this.tint(settings);
        const {points, tints, seen} = this.lists;
        gl.depthMask(false);
        settings.through ? gl.disable(gl.DEPTH_TEST) : gl.enable(gl.DEPTH_TEST);
        if (length) {
            const at = this.use('lines', camera.view);
            gl.uniform2f(at.screen, canvas.width, canvas.height);
            gl.uniform2f(at.least, settings.visibility || -1, settings.trackConfidence || -1);
            gl.uniform1f(at.forward, 0.985);
            gl.uniform1f(at.width, settings.lineWidth * this.ratio * (settings.rich ? 1.6 : 1));
            gl.uniform2i(at.ages, clip.tracks, length);
            gl.uniform2f(at.old, settings.tail, settings.rich ? 0.2 : 1);
            gl.uniform4i(at.layout_, first, 1, clip.tracks, ROW);
            this.bind(at, {points, tints, seen});
            gl.drawArrays(gl.TRIANGLES, 0, 6 * length * clip.tracks);
        }
        if (settings.rich && length)
            this.paintDots(settings, t - length, length, 0.35);
        this.paintDots(settings, t, 1, 1);
        gl.enable(gl.DEPTH_TEST);
    }

    /* The balls of `frames` frames from t on, `share` as large as set. */
    paintDots(settings, t, frames, share) {
        const {gl, clip, camera} = this, at = this.use('dots', camera.view), first = t * clip.tracks;
        const size = settings.ballSize * share * clamp(Math.sqrt(200 / clip.tracks), 0.4, 1);  /* many are smaller */
        if (!size)
            return;
        gl.depthMask(share === 1);
        gl.uniform2f(at.size, 0.014 * size * clip.depth * camera.lens.fx, 3.5 * size * this.ratio);
        gl.uniform2f(at.least, settings.visibility || -1, settings.trackConfidence || -1);
        gl.uniform1f(at.forward, 0.98);
        gl.uniform2i(at.ages, clip.tracks, frames);
        gl.uniform1f(at.old, share === 1 ? 1 : settings.tail);
        const {points, tints, seen} = this.lists;
        gl.uniform2i(at.layout_, first, ROW);
        this.bind(at, {points, tints, seen});
        gl.drawArrays(gl.POINTS, 0, frames * clip.tracks);
    }

    /* Segments: [from, to, r, g, b, opacity]. */
    paintLines(segments, width) {
        const {gl, canvas, camera} = this;
        if (!segments.length)
            return;
        this.fill('ends', new Float32Array(segments.flatMap(s => [...s[0], ...s[1]])), 3);
        this.fill('endTints', new Uint8Array(segments.flatMap(s => [0, 0, 0, 0, s[2], s[3], s[4], 255 * s[5]])), 4);
        const at = this.use('lines', camera.view);
        gl.depthMask(false);
        gl.uniform2f(at.screen, canvas.width, canvas.height);
        gl.uniform1f(at.width, width * this.ratio);
        gl.uniform2i(at.ages, segments.length, 1);
        gl.uniform2f(at.old, 1, 1);
        gl.uniform2f(at.least, -1, -1);
        gl.uniform1f(at.forward, 1);
        gl.uniform4i(at.layout_, 0, 2, 1, ROW);
        this.bind(at, {points: this.lists.ends, tints: this.lists.endTints, seen: this.lists.endTints});
        gl.drawArrays(gl.TRIANGLES, 0, 6 * segments.length);
    }

    /* On the floor, a line each 1, 2 or 5 times a power of ten; it fades away from the middle. */
    grid(ink) {
        const {clip} = this, segments = [], cells = 10, rough = clip.depth / 4;
        const power = 10 ** Math.floor(Math.log10(rough));
        const cell = power * [1, 2, 5, 10].find(m => m * power >= rough * 0.7);
        const middle = apply(clip.poses[0], [0, 0, clip.depth]).map(x => Math.round(x / cell) * cell);
        for (let i = -cells; i <= cells; i++)
            for (let j = -cells; j < cells; j++) {
                const colour = [...ink, 0.28 * (1 - Math.hypot(i, j + 0.5) / cells)];
                const at = (a, b) => [middle[0] + a * cell, clip.floor, middle[2] + b * cell];
                if (colour[3] > 0)
                    segments.push([at(i, j), at(i, j + 1), ...colour], [at(j, i), at(j + 1, i), ...colour]);
            }
        return segments;
    }

    /* x red, y green, z blue, at the world's origin. */
    axes() {
        const length = this.clip.depth / 4;
        return [[length, 0, 0, 235, 70, 80], [0, length, 0, 70, 190, 90], [0, 0, length, 70, 130, 255]]
            .map(([x, y, z, ...rgb]) => [[0, 0, 0], [x, y, z], ...rgb, 1]);
    }

    /* The path, and a pyramid for the current frame's camera, fainter for about a dozen others. */
    cameraLines(settings, ink) {
        const {clip} = this, segments = [], accent = [255, 140, 40], every = Math.max(1, Math.ceil(clip.frames / 12));
        const eye = t => [...clip.poses[t].subarray(12, 15)];
        if (settings.path)
            for (let t = 1; t < clip.frames; t++)
                segments.push([eye(t - 1), eye(t), ...accent, t <= settings.frame ? 0.9 : 0.35]);
        for (let t = 0; settings.allCameras && t < clip.frames; t += every)
            segments.push(...this.frustum(t, settings.cameraSize, ink, 0.3));
        if (settings.mode !== 'through')
            segments.push(...this.frustum(settings.frame, settings.cameraSize, accent, 1));
        return segments;
    }

    frustum(t, size, rgb, opacity) {
        const {clip} = this, [w, h] = clip.mapSize, scale = 0.12 * size * clip.depth;
        const corner = (x, y) => apply(clip.poses[t], times(ray(clip.lens[t], x * w - 0.5, y * h - 0.5), scale));
        const corners = [corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)];
        const eye = [...clip.poses[t].subarray(12, 15)];
        const top = [corner(0.35, -0.06), corner(0.65, -0.06), corner(0.5, -0.22)];
        return [...corners.map(c => [eye, c]), ...corners.map((c, i) => [c, corners[(i + 1) % 4]]),
                ...top.map((c, i) => [c, top[(i + 1) % 3]])].map(s => [...s, ...rgb, opacity]);
    }
}
