/* A square for each pixel of a depth map, as wide as the pixel is there. */
precision highp float;
precision highp int;
uniform vec3 ramp[9];
uniform int colouring;  /* 0: picture, 1: depth, 2: confidence */
uniform float opacity;

vec3 rampAt(float value) {
    float at = 8. * clamp(value, 0., 1.);
    int i = min(int(at), 7);
    return mix(ramp[i], ramp[i + 1], at - float(i));
}

#ifdef VERTEX
uniform highp usampler2D depth;  /* steps from the nearest depth, 0: none */
uniform sampler2D picture;       /* rgb, and in a the depth's confidence */
uniform mat3 rays;               /* from a pixel to its ray, 1 deep */
uniform mat4 pose, view, projection;
uniform float near, stepSize;    /* depth = near exp(stepSize (code - 1)) */
uniform float least, edge;       /* confidence; jump of the depth to a neighbour, in steps; 0: any */
uniform uvec2 range;             /* of depth, in steps */
uniform float size;              /* of a square: pixels of the screen times depth there over depth here */
out vec3 shade;

bool onEdge(ivec2 at, ivec2 extent, int code) {
    for (int i = 0; i < 4; i++) {
        ivec2 other = clamp(at + ivec2[4](ivec2(1, 0), ivec2(-1, 0), ivec2(0, 1), ivec2(0, -1))[i], ivec2(0), extent - 1);
        if (float(abs(int(texelFetch(depth, other, 0).r) - code)) > edge)
            return true;
    }
    return false;
}

void main() {
    ivec2 extent = textureSize(depth, 0);
    ivec2 at = ivec2(gl_VertexID % extent.x, gl_VertexID / extent.x);
    uint code = texelFetch(depth, at, 0).r;
    vec4 texel = texelFetch(picture, at, 0);
    gl_Position = vec4(0, 0, 2, 1);  /* out of sight */
    if (code == 0u || code < range.x || code > range.y || texel.a < least || (edge > 0. && onEdge(at, extent, int(code))))
        return;
    float z = near * exp(stepSize * float(code - 1u));
    vec4 seen = view * (pose * vec4(rays * vec3(at, 1) * z, 1));
    gl_Position = projection * seen;
    gl_PointSize = max(size * z / seen.z, 1.);
    float share = float(code - range.x) / max(float(range.y - range.x), 1.);
    shade = colouring == 0 ? texel.rgb : rampAt(colouring == 1 ? 1. - share : texel.a);
}
#else
in vec3 shade;
out vec4 colour;

void main() {
    colour = vec4(shade * opacity, opacity);
}
#endif
