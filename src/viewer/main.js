'use strict';
/* The page: opens a result, plays it, and hands what the user does to the parts. */

const $ = id => document.getElementById(id);
const canvas = $('scene'), orbit = new Orbit();
let clip = null, painter = null, panel = null, camera = null;
let pending = 0, movedAt = 0, paintedAt = 0, interval = 0;  /* milliseconds */
let playing = false, playedFrom = 0, selected = -1, pointer = [-1, -1];

/* Opening ---------------------------------------------------------------------------------------- */

async function start() {
    try {
        painter = new Painter(canvas);
        panel = new Panel($('sections'), changed);
        readAddress(location.hash, orbit);
        $('panel').hidden = !matchMedia('(min-width: 900px)').matches;
        const data = Uint8Array.from(atob($('result').textContent.trim()), c => c.charCodeAt(0));
        await open(data.buffer, '');
    } catch (error) {
        tell(`This page cannot be shown: ${error.message}`);
    }
}

async function open(buffer, name) {
    show(await readClip(buffer, name));
}

function show(opened) {
    clip = opened;
    selected = -1;
    settings.frame = clamp(Math.round(settings.frame), 0, clip.frames - 1);
    settings.trail = Math.round(settings.trail);
    painter.setClip(clip);
    if (!orbit.moved)
        goHome();
    const {maps} = clip, plural = (n, what) => `${n} ${what}${n === 1 ? '' : 's'}`;
    document.title = clip.name ? `${clip.name} – spatrack` : 'spatrack';
    $('name').textContent = clip.name || 'spatrack';
    $('facts').textContent = [`${clip.size[0]} × ${clip.size[1]}`, plural(clip.frames, 'frame'),
                              clip.tracks && plural(clip.tracks, 'track'),
                              maps && `${maps.w} × ${maps.h} points a frame`].filter(x => x).join(' · ');
    $('note').textContent = clip.note;
    $('note').hidden = !clip.note;
    $('timeline').max = clip.frames - 1;
    panel.build(clip);
    document.body.dataset.state = 'ready';
    applyTheme();
    invalidate();
}

/* A result of the user's: the view begins anew, the settings stay. */
async function openFile(file) {
    try {
        const opened = await readClip(await file.arrayBuffer(), file.name);
        orbit.moved = false;
        settings.frame = 0;
        settings.hidden.clear();
        stop();
        show(opened);
        tell('');
    } catch (error) {
        tell(`${file.name} cannot be opened: ${error.message}`);
    }
}

function tell(text) {
    $('message').textContent = text;
    $('message').hidden = !text;
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => { $('message').hidden = true; }, 6000);
}

/* Drawing ---------------------------------------------------------------------------------------- */

function invalidate() {
    if (!pending)
        pending = requestAnimationFrame(() => {
            pending = 0;
            if (clip) {
                choosePace();
                paint();
            }
        });
}

function goHome() {
    const [width, height] = freeArea();
    orbit.home(clip, settings.fov, width / height);
}

/* Width and height of the canvas, from its upper left, that neither the panel in its place nor the playback hides. */
function freeArea() {
    const box = $('panel').getBoundingClientRect(), docked = !$('panel').hidden && !$('panel').style.translate;
    const sheet = docked && box.left < 16, bottom = $('transport').getBoundingClientRect().top - 8;
    return [docked && !sheet ? box.left - 8 : canvas.clientWidth, sheet ? box.top : bottom];
}

const isDark = () => document.documentElement.dataset.theme === 'dark';

function applyTheme() {
    const system = matchMedia('(prefers-color-scheme: dark)').matches;
    const dark = settings.theme === 'auto' ? system : settings.theme === 'dark';
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
}

function background() {
    const theme = isDark() ? [16, 19, 25] : [243, 244, 246];
    return {theme, white: [255, 255, 255], black: [0, 0, 0]}[settings.background];
}

/* While the picture moves, and that is slow, a quarter of the points is enough. */
function choosePace() {
    const now = performance.now(), moving = playing || now - movedAt < 250;
    interval = moving ? 0.8 * interval + 0.2 * Math.min(now - paintedAt, 200) : 0;
    paintedAt = now;
    painter.step = moving && (painter.step > 1 || interval > 45) ? 2 : 1;
    clearTimeout(choosePace.timer);
    if (painter.step > 1)
        choosePace.timer = setTimeout(invalidate, 300);
}

function paint() {
    if (playing)
        advance();
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map(x => Math.round(x * ratio));
    if (canvas.width !== width || canvas.height !== height)
        [canvas.width, canvas.height] = [width, height];
    const ground = background(), ink = ground[0] > 127 ? [60, 70, 90] : [190, 200, 220];
    const free = freeArea();
    painter.paint(settings, cameraOf(clip, settings, orbit, times(free, ratio)), ground, ink);
    camera = cameraOf(clip, settings, orbit, free);
    showState();
    showValues();
    if (playing)
        invalidate();
}

/* What of the page follows the frame and the camera. */
function showState() {
    const t = settings.frame, timeline = $('timeline'), [across, down] = fieldOfView(clip, t).map(x => x.toFixed(1));
    timeline.value = t;
    timeline.style.setProperty('--share', t / Math.max(clip.frames - 1, 1));
    const seconds = clip.times ? `${clip.times[t].toFixed(2)} s` : '';
    timeline.setAttribute('aria-valuetext', `frame ${t + 1} of ${clip.frames} ${seconds}`);
    $('now').replaceChildren(`${t + 1} / ${clip.frames}`, element('span', {class: 'time'}, seconds && ` · ${seconds}`));
    $('loop').setAttribute('aria-pressed', settings.loop);
    $('speed').value = settings.speed;
    const lens = document.querySelector('[data-value=mode]');
    lens.textContent = settings.mode === 'through' ? `${across}° × ${down}°` : '';
    lens.title = 'field of view of the camera, across and down';
    $('frame').hidden = !camera.rect;
    if (camera.rect)
        ['left', 'top', 'width', 'height'].forEach((side, i) => { $('frame').style[side] = `${camera.rect[i]}px`; });
}

/* Values of the selected track, else of what is under the pointer ----------------------------------- */

function showValues() {
    const box = $('values'), over = !playing && pointer[0] >= 0;
    const track = selected >= 0 ? selected : over ? trackAt(clip, settings, camera, ...pointer, 12) : -1;
    const spot = track < 0 && over ? pixelAt(clip, settings, camera, ...pointer) : null;
    box.hidden = track < 0 && !spot;
    if (box.hidden)
        return;
    const [title, rows] = track >= 0 ? trackValues(track) : pixelValues(spot);
    const entries = rows.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]);
    box.replaceChildren(element('h2', {}, title), element('dl', {}, ...entries));
    const at = selected >= 0 ? pixel(camera.lens, apply(camera.view, pointOf(clip, settings.frame, track))) : pointer;
    const x = Math.min(at[0] + 16, innerWidth - box.offsetWidth - 8);
    const y = Math.min(at[1] + 16, innerHeight - box.offsetHeight - 8);
    box.style.left = `${Math.max(x, 8)}px`;
    box.style.top = `${Math.max(y, 8)}px`;
}

function trackValues(n) {
    const t = settings.frame, i = 2 * (t * clip.tracks + n), at = inputPixel(clip, t, n);
    const share = byte => (byte / 255).toFixed(2);
    const rows = [['world', [...pointOf(clip, t, n)].map(digits).join(', ')],
                  ['pixel', at.map(x => x.toFixed(1)).join(', ')],
                  ['depth', digits(apply(clip.views[t], pointOf(clip, t, n))[2])],
                  ['visibility', share(clip.seen[i])], ['confidence', share(clip.seen[i + 1])]];
    if (clip.dynamic)
        rows.push(['moving', clip.dynamic[n].toFixed(2)]);
    if (clip.object)
        rows.push(['object', clip.objectNames[clip.object[n]] || `${clip.object[n]}`]);
    return [`Track ${n}`, rows];
}

function pixelValues(spot) {
    const [r, g, b, trust] = clip.maps.rgba.subarray(4 * spot.index, 4 * spot.index + 4);
    return ['Point', [['world', spot.point.map(digits).join(', ')], ['depth', digits(spot.depth)],
                      ['pixel of the map', `${spot.x}, ${spot.y}`], ['colour', `${r} ${g} ${b}`],
                      ['confidence', (trust / 255).toFixed(2)]]];
}

/* Playing ---------------------------------------------------------------------------------------- */

function play() {
    if (settings.frame === clip.frames - 1)
        settings.frame = 0;
    playing = true;
    playedFrom = performance.now();
    document.body.dataset.playing = '';
    $('play').setAttribute('aria-label', 'Pause');
    invalidate();
}

function stop() {
    playing = false;
    delete document.body.dataset.playing;
    $('play').setAttribute('aria-label', 'Play');
    noteAddress();
}

/* As many frames as the time that has passed is long. */
function advance() {
    const length = 1000 / clip.rate / settings.speed, passed = Math.floor((performance.now() - playedFrom) / length);
    playedFrom += passed * length;
    const next = settings.frame + passed;
    if (next < clip.frames || settings.loop)
        settings.frame = next % clip.frames;
    else {
        settings.frame = clip.frames - 1;
        stop();
    }
}

function goTo(frame) {
    stop();
    settings.frame = settings.loop ? (frame + clip.frames) % clip.frames : clamp(frame, 0, clip.frames - 1);
    invalidate();
}

/* What the user does ------------------------------------------------------------------------------- */

function noteAddress() {
    clearTimeout(noteAddress.timer);
    noteAddress.timer = setTimeout(() => history.replaceState(null, '', `#${writeAddress(orbit)}`), 200);
}

function changed(key) {
    if (key === 'theme')
        applyTheme();
    if (key === 'mode' && settings.mode === 'follow')
        orbit.reference = settings.frame;
    noteAddress();
    invalidate();
}

/* The view leaves the clip's camera when it is moved. */
function move(how) {
    if (settings.mode === 'through') {
        orbit.standAt(clip.poses[settings.frame], clip.depth);
        panel.set('mode', 'orbit');
    }
    how();
    noteAddress();
    movedAt = performance.now();
    invalidate();
}

function savePicture() {
    paint();
    canvas.toBlob(blob => {
        const name = (clip.name || 'spatrack').replace(/\.[^.]*$/, '');
        const link = element('a', {href: URL.createObjectURL(blob), download: `${name}-${settings.frame}.png`});
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
}

async function copyLink() {
    history.replaceState(null, '', `#${writeAddress(orbit)}`);
    try {
        await navigator.clipboard.writeText(location.href);
        tell('The address of this view is copied.');
    } catch {
        tell('The view stands in the page\'s address.');
    }
}

const actions = {
    play: () => playing ? stop() : play(),
    back: () => goTo(settings.frame - 1),
    forward: () => goTo(settings.frame + 1),
    loop: () => panel.set('loop', !settings.loop),
    hide: () => { $('panel').hidden = !$('panel').hidden; },
    home: () => { settings.mode = 'orbit'; goHome(); panel.refresh(); noteAddress(); },
    reset: () => { resetSettings(); applyTheme(); panel.refresh(); noteAddress(); },
    save: savePicture,
    share: copyLink,
    help: () => $('help').showModal(),
};

const keys = {
    ' ': actions.play, ArrowLeft: actions.back, ArrowRight: actions.forward,
    Home: () => goTo(0), End: () => goTo(clip.frames - 1),
    1: () => panel.set('mode', 'orbit'), 2: () => panel.set('mode', 'follow'), 3: () => panel.set('mode', 'through'),
    c: () => panel.set('cloud', !settings.cloud), t: () => panel.set('tracks', !settings.tracks),
    v: () => panel.set('cameras', !settings.cameras), g: () => panel.set('grid', !settings.grid),
    l: actions.loop, r: actions.home, s: actions.save, h: actions.hide, '?': actions.help,
    '+': () => move(() => orbit.zoom(0.9)), '=': () => move(() => orbit.zoom(0.9)),
    '-': () => move(() => orbit.zoom(1 / 0.9)),
    Escape: () => { selected = -1; },
};
const turns = {ArrowLeft: [0.06, 0], ArrowRight: [-0.06, 0], ArrowUp: [0, 0.06], ArrowDown: [0, -0.06]};

function onKey(event) {
    const own = event.target.closest('input, select, dialog, button');
    if (!clip || event.ctrlKey || event.metaKey || event.altKey || (own && (event.key.length > 1 || event.key === ' ')))
        return;
    const turned = event.shiftKey && turns[event.key];
    const action = turned ? () => move(() => orbit.rotate(...turned))
                          : keys[event.key] || keys[event.key.toLowerCase()];
    if (!action)
        return;
    event.preventDefault();
    action();
    invalidate();
}

function listen() {
    const radians = 0.006;
    watchPointers(canvas, {
        turn: (dx, dy) => move(() => orbit.rotate(dx * radians, dy * radians)),
        pan: (dx, dy) => move(() => orbit.pan(dx / camera.lens.fx, dy / camera.lens.fy)),
        zoom: by => move(() => orbit.zoom(by)),
        hover: (x, y) => { pointer = [x, y]; invalidate(); },
        tap: (x, y) => { pointer = [x, y]; selected = trackAt(clip, settings, camera, x, y, 14); invalidate(); },
        focus: (x, y) => {
            const n = trackAt(clip, settings, camera, x, y, 14), spot = pixelAt(clip, settings, camera, x, y);
            const point = n >= 0 ? [...pointOf(clip, settings.frame, n)] : spot && spot.point;
            if (point && settings.mode !== 'through')
                move(() => orbit.lookAt(settings.mode === 'orbit' ? point : apply(ride(clip, orbit, settings.frame), point)));
        },
    });
    document.addEventListener('click', event => {
        const action = event.target.closest('[data-do]');
        if (action && clip) {
            actions[action.dataset.do]();
            invalidate();
        }
    });
    document.addEventListener('keydown', onKey);
    $('timeline').addEventListener('input', event => {
        stop();
        settings.frame = Number(event.target.value);
        invalidate();
    });
    $('speed').addEventListener('change', event => { settings.speed = Number(event.target.value); noteAddress(); });
    $('file').addEventListener('change', event => event.target.files[0] && openFile(event.target.files[0]));
    makeDraggable($('panel'), $('grip'));
    new ResizeObserver(invalidate).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { applyTheme(); invalidate(); });
    addEventListener('hashchange', () => { readAddress(location.hash, orbit); clip && show(clip); });
    for (const [type, over] of [['dragenter', true], ['dragover', true], ['dragleave', false], ['drop', false]])
        addEventListener(type, event => {
            event.preventDefault();
            document.body.toggleAttribute('data-dropping', over);
            if (type === 'drop' && event.dataTransfer.files[0])
                openFile(event.dataTransfer.files[0]);
        });
    canvas.addEventListener('webglcontextlost', () => tell('The graphics card was lost; load the page again.'));
}

listen();
document.addEventListener('DOMContentLoaded', start);
