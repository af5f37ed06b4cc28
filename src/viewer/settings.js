'use strict';
/* What can be set, in the order of the panel: one table, from which the panel, the page's address and the
   reset are made. `needs`: what a clip must have. */

const percent = v => `${Math.round(100 * v)} %`;
const factor = v => `${+v.toFixed(2)}×`;
const count = v => `${v}`;
const least = v => v > 0 ? `> ${v.toFixed(2)}` : 'any';
const depthShare = v => digits(depthAt(clip, v));
const digits = v => Number.isFinite(v) ? String(+v.toPrecision(4)) : '–';

/* A jump of the depth from one pixel to the next, as a share of it, that is not cut. */
const EDGE_NEVER = 0.3;

const PANEL = [
    {title: 'View', items: [
        {key: 'mode', label: 'Camera', value: 'orbit',
         choice: {orbit: 'Orbit', follow: 'Follow', through: 'Look through'}},
        {key: 'fov', label: 'Field of view', value: 40, range: [15, 100, 1], show: v => `${v}°`},
    ]},
    {title: 'Point cloud', key: 'cloud', value: true, needs: 'maps', items: [
        {key: 'cloudColour', label: 'Colour', value: 'picture',
         choice: {picture: 'Picture', depth: 'Depth', confidence: 'Confidence'}},
        {key: 'pointSize', label: 'Point size', value: 1.3, range: [0.2, 4, 0.05], show: factor},
        {key: 'opacity', label: 'Opacity', value: 1, range: [0.05, 1, 0.05], show: percent},
        {key: 'nearest', label: 'Nearest depth', value: 0, range: [0, 1, 0.005], show: depthShare},
        {key: 'farthest', label: 'Farthest depth', value: 1, range: [0, 1, 0.005], show: depthShare},
        {key: 'confidence', label: 'Confidence', value: 0, range: [0, 1, 0.01], show: least},
        {key: 'edge', label: 'Cut at jumps of depth', value: EDGE_NEVER, range: [0.01, EDGE_NEVER, 0.01],
         show: v => v < EDGE_NEVER ? `> ${percent(v)}` : 'never'},
        {key: 'keep', label: 'Keep earlier frames', value: false},
        {key: 'stride', label: 'Every', value: 5, range: [1, 20, 1],
         show: v => v > 1 ? `${v} frames` : 'frame', with: 'keep'},
    ]},
    {title: 'Tracks', key: 'tracks', value: true, needs: 'tracks', items: [
        {key: 'trackColour', label: 'Colour by', value: 'track',
         choice: {track: 'Track', time: 'Time', object: 'Object', motion: 'Motion', picture: 'Picture'}},
        {key: 'trail', label: 'Trail', value: 20, range: [0, 100, 1], show: v => v === 1 ? '1 frame' : `${v} frames`},
        {key: 'tail', label: 'Tail opacity', value: 0.1, range: [0, 1, 0.05], show: percent},
        {key: 'lineWidth', label: 'Line width', value: 2, range: [0.5, 8, 0.5], show: v => `${v} px`},
        {key: 'ballSize', label: 'Ball size', value: 1, range: [0, 4, 0.1], show: factor},
        {key: 'rich', label: 'Rich trails', value: false},
        {key: 'through', label: 'Show through the cloud', value: false},
        {key: 'visibility', label: 'Visibility', value: 0.5, range: [0, 1, 0.01], show: least},
        {key: 'trackConfidence', label: 'Confidence', value: 0, range: [0, 1, 0.01], show: least},
    ]},
    {title: 'Cameras', key: 'cameras', value: true, items: [
        {key: 'cameraSize', label: 'Size', value: 1, range: [0.1, 5, 0.1], show: factor},
        {key: 'path', label: 'Path', value: true},
        {key: 'allCameras', label: 'Other frames', value: false},
    ]},
    {title: 'Surroundings', items: [
        {key: 'grid', label: 'Grid', value: true},
        {key: 'axes', label: 'Axes', value: false},
        {key: 'background', label: 'Background', value: 'theme',
         choice: {theme: 'Theme', white: 'White', black: 'Black'}},
        {key: 'theme', label: 'Theme', value: 'auto', choice: {auto: 'Auto', light: 'Light', dark: 'Dark'}},
    ]},
];
const PLAYBACK = [
    {key: 'frame', value: 0},
    {key: 'speed', value: 1},
    {key: 'loop', value: true},
];
const ITEMS = [...PANEL.flatMap(s => s.key ? [s, ...s.items] : s.items), ...PLAYBACK];

/* The values in force; `hidden`: the objects that are not shown. */
const settings = {hidden: new Set()};

function resetSettings() {
    for (const item of ITEMS)
        if (item.key !== 'frame')
            settings[item.key] = item.value;
    settings.hidden.clear();
}

/* A text of the address as a value of an item, where it is one. */
function parseValue(item, text) {
    if (typeof item.value === 'boolean')
        return text === '1';
    if (typeof item.value === 'string')
        return Object.hasOwn(item.choice, text) ? text : item.value;
    const [low, high] = item.range || [0, 1e6];
    return text !== '' && isFinite(text) ? clamp(Number(text), low, high) : item.value;
}

/* What differs from the beginning, as the part of an address behind #. */
function writeAddress(orbit) {
    const parts = ITEMS.filter(item => settings[item.key] !== item.value)
        .map(({key}) => `${key}=${typeof settings[key] === 'boolean' ? +settings[key] : settings[key]}`);
    if (settings.hidden.size)
        parts.push(`hidden=${[...settings.hidden].join('.')}`);
    if (orbit.moved)
        parts.push(`view=${orbit.numbers.map(x => +x.toPrecision(6))}`);
    return parts.join('&');
}

function readAddress(address, orbit) {
    resetSettings();
    settings.frame = 0;
    for (const part of address.replace(/^#/, '').replace(/%2C/gi, ',').split('&')) {
        const [key, text] = part.split('='), item = ITEMS.find(i => i.key === key);
        if (item && text !== undefined)
            settings[key] = parseValue(item, text);
        else if (key === 'hidden')
            (text || '').split('.').forEach(n => settings.hidden.add(Number(n)));
        else if (key === 'view' && text && text.split(',').every(x => x && isFinite(x)) && text.split(',').length === 7)
            orbit.set(text.split(',').map(Number));
    }
}
