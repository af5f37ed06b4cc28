'use strict';
/* The panel, made from the table of settings.js. */

/* An element with attributes, and children that are elements or texts. */
function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes))
        value === true ? made.setAttribute(key, '') : value !== false && made.setAttribute(key, value);
    made.append(...children);
    return made;
}

class Panel {
    /* changed(key) is called when the user has changed a setting. */
    constructor(root, changed) {
        this.root = root;
        this.changed = changed;
        this.refreshers = [];
    }

    /* Shows what the clip has. */
    build(clip) {
        this.refreshers = [];
        const wide = matchMedia('(min-width: 641px)').matches;
        const sections = PANEL.filter(s => !s.needs || (s.needs === 'maps' ? clip.maps : clip.tracks));
        this.root.replaceChildren(...sections.map((section, i) => this.section(section, wide && i < 3, clip)));
        this.refresh();
    }

    /* Shows the settings in force. */
    refresh() {
        this.refreshers.forEach(refresh => refresh());
    }

    set(key, value) {
        settings[key] = value;
        this.refresh();
        this.changed(key);
    }

    section(section, open, clip) {
        const body = element('div', {class: 'body', id: `body-${section.title.replace(/ /g, '-')}`});
        const space = 'http://www.w3.org/2000/svg';
        const arrow = document.createElementNS(space, 'svg'), path = document.createElementNS(space, 'path');
        arrow.setAttribute('viewBox', '0 0 20 20');
        arrow.setAttribute('aria-hidden', 'true');
        path.setAttribute('d', 'M7 4l6 6-6 6');
        arrow.append(path);
        const button = element('button', {type: 'button', 'aria-controls': body.id}, arrow, section.title);
        const unfold = shown => {
            body.hidden = !shown;
            button.setAttribute('aria-expanded', shown);
        };
        button.addEventListener('click', () => unfold(body.hidden));
        unfold(open);
        body.append(...section.items.map(item => this.row(item)));
        if (section.key === 'tracks' && clip.object)
            body.append(this.objects(clip));
        const made = element('section', {class: 'section'}, element('div', {class: 'heading'}, button), body);
        if (section.key) {
            made.firstChild.append(this.toggle(section, `Show ${section.title.toLowerCase()}`));
            this.refreshers.push(() => made.classList.toggle('off', !settings[section.key]));
        }
        return made;
    }

    row(item) {
        const label = element('label', {for: `set-${item.key}`}, item.label);
        const made = element('div', {class: 'row', 'data-key': item.key}, label);
        if (typeof item.value === 'boolean')
            made.append(this.toggle(item));
        else if (item.choice)
            made.append(...this.choice(item, label));
        else
            made.append(...this.range(item));
        if (item.with)
            this.refreshers.push(() => { made.hidden = !settings[item.with]; });
        return made;
    }

    toggle(item, label) {
        const input = element('input', {type: 'checkbox', class: 'switch', role: 'switch', id: `set-${item.key}`});
        if (label)
            input.setAttribute('aria-label', label);
        input.addEventListener('change', () => this.set(item.key, input.checked));
        this.refreshers.push(() => { input.checked = settings[item.key]; });
        return input;
    }

    range(item) {
        const [min, max, step] = item.range;
        const input = element('input', {type: 'range', id: `set-${item.key}`, min, max, step});
        const shown = element('output', {for: input.id});
        input.addEventListener('input', () => this.set(item.key, Number(input.value)));
        this.refreshers.push(() => {
            input.value = settings[item.key];
            input.style.setProperty('--share', (settings[item.key] - min) / (max - min));
            shown.textContent = item.show(settings[item.key]);
            input.setAttribute('aria-valuetext', shown.textContent);
        });
        return [shown, input];
    }

    /* Words side by side, or of many a list. */
    choice(item, label) {
        const words = Object.entries(item.choice);
        if (words.length > 3) {
            const options = words.map(([value, text]) => element('option', {value}, text));
            const select = element('select', {id: `set-${item.key}`}, ...options);
            select.addEventListener('change', () => this.set(item.key, select.value));
            this.refreshers.push(() => { select.value = settings[item.key]; });
            return [select];
        }
        label.id = `label-${item.key}`;
        label.removeAttribute('for');
        const group = element('div', {class: 'choice', role: 'radiogroup', id: `set-${item.key}`,
                                      'aria-labelledby': label.id});
        for (const [value, text] of words) {
            const input = element('input', {type: 'radio', name: item.key, value});
            input.addEventListener('change', () => this.set(item.key, value));
            this.refreshers.push(() => { input.checked = settings[item.key] === value; });
            group.append(element('label', {}, input, text));
        }
        return [element('span', {class: 'value', 'data-value': item.key}), group];
    }

    objects(clip) {
        const rows = [...new Set(clip.object)].sort((a, b) => a - b).map(n => {
            const input = element('input', {type: 'checkbox', 'data-object': n});
            const dot = element('i', {style: `background: rgb(${OBJECTS[n % OBJECTS.length]})`});
            input.addEventListener('change', () => {
                input.checked ? settings.hidden.delete(n) : settings.hidden.add(n);
                this.changed('hidden');
            });
            this.refreshers.push(() => { input.checked = !settings.hidden.has(n); });
            return element('label', {}, input, dot, element('span', {}, clip.objectNames[n] || `object ${n}`));
        });
        return element('div', {class: 'objects', role: 'group', 'aria-label': 'Objects'}, ...rows);
    }
}

/* Lets a panel be dragged by its grip, and keeps it within the window. */
function makeDraggable(panel, grip) {
    const moved = [0, 0];
    let from = null;
    const place = (x, y) => {
        const box = panel.getBoundingClientRect();
        moved[0] += clamp(x, 8 - box.left, innerWidth - 8 - box.right);
        moved[1] += clamp(y, 8 - box.top, Math.max(8 - box.top, innerHeight - 48 - box.top));
        panel.style.translate = `${moved[0]}px ${moved[1]}px`;
    };
    grip.addEventListener('pointerdown', event => {
        if (event.target.closest('button'))
            return;
        grip.setPointerCapture(event.pointerId);
        from = [event.clientX, event.clientY];
    });
    grip.addEventListener('pointermove', event => {
        if (!from)
            return;
        place(event.clientX - from[0], event.clientY - from[1]);
        from = [event.clientX, event.clientY];
    });
    for (const end of ['pointerup', 'pointercancel'])
        grip.addEventListener(end, () => { from = null; });
    addEventListener('resize', () => panel.hidden || place(0, 0));
}
