'use strict';
/* numpy's .npz: a ZIP archive (PKWARE APPNOTE 6.3) of .npy arrays, read where it lies in memory; a member is
   unpacked when it is asked for. */

class Npz {
    constructor(buffer) {
        this.bytes = new Uint8Array(buffer);
        this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
        this.members = new Map();
        let end = this.bytes.length - 22;
        while (end >= 0 && this.view.getUint32(end, true) !== 0x06054b50)
            end--;
        if (end < 0)
            throw new Error('this is no .npz file');
        let count = this.view.getUint16(end + 10, true), at = this.view.getUint32(end + 16, true);
        if (end >= 20 && this.view.getUint32(end - 20, true) === 0x07064b50) {
            const wide = this.number(end - 12, 8);
            count = this.number(wide + 32, 8);
            at = this.number(wide + 48, 8);
        }
        for (let i = 0; i < count; i++)
            at = this.readEntry(at);
    }

    number(at, size) {
        return size === 8 ? Number(this.view.getBigUint64(at, true)) : this.view.getUint32(at, true);
    }

    /* One of the directory's; returns where the next begins. */
    readEntry(at) {
        const v = this.view, length = v.getUint16(at + 28, true), extra = v.getUint16(at + 30, true);
        const name = new TextDecoder().decode(this.bytes.subarray(at + 46, at + 46 + length));
        const entry = {method: v.getUint16(at + 10, true)};
        const fields = [['size', at + 24], ['packed', at + 20], ['offset', at + 42]];
        for (const [key, place] of fields)
            entry[key] = this.number(place, 4);
        for (let e = at + 46 + length; e < at + 46 + length + extra; e += 4 + v.getUint16(e + 2, true))
            if (v.getUint16(e, true) === 1)  /* ZIP64: what did not fit, in this order */
                fields.filter(([key]) => entry[key] === 0xffffffff)
                    .forEach(([key], i) => { entry[key] = this.number(e + 4 + 8 * i, 8); });
        this.members.set(name.replace(/\.npy$/, ''), entry);
        return at + 46 + length + extra + v.getUint16(at + 32, true);
    }

    has(name) {
        return this.members.has(name);
    }

    async unpack(name) {
        const {method, packed, offset} = this.members.get(name);
        const begin = offset + 30 + this.view.getUint16(offset + 26, true) + this.view.getUint16(offset + 28, true);
        const data = this.bytes.subarray(begin, begin + packed);
        if (method === 0)
            return data.slice().buffer;
        if (method !== 8)
            throw new Error(`${name} is packed in a way that is not known here`);
        const unpacked = new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
        return new Response(unpacked).arrayBuffer();
    }

    /* {shape, data: a typed array in C order, or an array of texts}; null where there is none. */
    async array(name) {
        if (!this.has(name))
            return null;
        const buffer = await this.unpack(name), view = new DataView(buffer);
        const wide = view.getUint8(6) > 1, begin = wide ? 12 : 10;
        const size = wide ? view.getUint32(8, true) : view.getUint16(8, true);
        const head = new TextDecoder('latin1').decode(new Uint8Array(buffer, begin, size));
        const [, order, kind, width] = /'descr': *'([<>|=])([a-zA-Z])(\d+)'/.exec(head) || [];
        const shape = (/'shape': *\(([^)]*)\)/.exec(head) || [])[1].split(',').filter(x => x.trim()).map(Number);
        const elements = elementsOf(new Uint8Array(buffer, begin + size), kind, Number(width), order === '>');
        if (!elements)
            throw new Error(`${name} holds elements of a kind that is not read here`);
        return {shape, data: /'fortran_order': *True/.test(head) ? rowMajor(elements, shape) : elements};
    }

    async text(name) {
        const array = await this.array(name);
        return array ? array.data[0] : null;
    }
}

function elementsOf(bytes, kind, width, swapped) {
    if (kind === 'U') {
        const codes = elementsOf(bytes, 'u', 4, swapped), texts = [];
        for (let i = 0; i < codes.length; i += width)
            texts.push(String.fromCodePoint(...codes.subarray(i, i + width)).replace(/\0+$/, ''));
        return texts;
    }
    const types = {f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, i8: BigInt64Array,
                   u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, u8: BigUint64Array, b1: Uint8Array, f2: Uint16Array};
    const type = types[kind + width];
    if (!type)
        return null;
    const copy = bytes.slice();
    if (swapped)
        for (let i = 0; i < copy.length; i += width)
            copy.subarray(i, i + width).reverse();
    const elements = new type(copy.buffer, 0, Math.floor(copy.length / width));
    if (kind === 'f' && width === 2)
        return Float32Array.from(elements, half);
    return width === 8 && kind !== 'f' ? Float64Array.from(elements, Number) : elements;
}

/* IEEE 754's binary16. */
function half(bits) {
    const sign = bits >> 15 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent === 31)
        return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/* Of elements whose first axis runs fastest. */
function rowMajor(elements, shape) {
    const out = elements.slice(), steps = [];
    let step = 1;
    for (const extent of shape) {
        steps.push(step);
        step *= extent;
    }
    const place = shape.map(() => 0);
    for (let i = 0, at = 0; i < out.length; i++) {
        out[i] = elements[at];
        for (let axis = shape.length - 1; axis >= 0; axis--) {
            at += steps[axis];
            if (++place[axis] < shape[axis])
                break;
            at -= steps[axis] * shape[axis];
            place[axis] = 0;
        }
    }
    return out;
}
