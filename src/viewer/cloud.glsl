/* A square for each pixel of a depth map, as wide as the pixel is there. What takes long in software is left out of the
   program where it is not wanted: CUT cuts at jumps of the depth, RAMP colours by a value. */
precision highp float;
uniform float opacity;

#ifdef VERTEX
uniform highp sampler2D depth;   /* 0: none */
uniform sampler2D picture;       /* rgb, and in a the depth's confidence */
uniform int step_;               /* every such pixel of every such row is drawn */
uniform mat3 rays;               /* from a pixel to its ray, 1 deep */
uniform mat4 view, projection;   /* from the clip's camera to the viewer's, and to the screen */
uniform float least;             /* confidence */
uniform float edge;              /* most that the depth may jump to a neighbour, as a factor */
uniform vec2 range;              /* of depth */
uniform float size;              /* of a square: pixels of the screen times depth there over depth here */
out vec3 shade;

#ifdef RAMP
uniform vec3 ramp[9];
uniform bool byDepth;            /* else by its confidence */

vec3 rampAt(float value) {
    float at = 8. * clamp(value, 0., 1.);
    int i = min(int(at), 7);
    return mix(ramp[i], ramp[i + 1], at - float(i));
}
#endif

#ifdef CUT
bool onEdge(ivec2 at, ivec2 extent, float z) {
    for (int i = 0; i < 4; i++) {
        ivec2 next = ivec2[4](ivec2(1, 0), ivec2(-1, 0), ivec2(0, 1), ivec2(0, -1))[i];
        ivec2 other = clamp(at + next, ivec2(0), extent - 1);
        float beside = texelFetch(depth, other, 0).r;
        if (max(beside, z) > edge * min(beside, z))
            return true;
    }
    return false;
}
#endif

void main() {
    ivec2 extent = textureSize(depth, 0);
    int columns = (extent.x + step_ - 1) / step_, row = int((float(gl_VertexID) + 0.5) / float(columns));
    ivec2 at = ivec2(gl_VertexID - row * columns, row) * step_;
    float z = texelFetch(depth, at, 0).r;
    vec4 texel = texelFetch(picture, at, 0);
    gl_Position = vec4(0, 0, 2, 1);  /* out of sight */
    if (z == 0. || z < range.x || z > range.y || texel.a < least)
        return;
#ifdef CUT
    if (onEdge(at, extent, z))
        return;
#endif
    vec4 seen = view * vec4(rays * vec3(at, 1) * z, 1);
    gl_Position = projection * seen;
    gl_PointSize = max(size * z / seen.z, 1.);
#ifdef RAMP
    shade = rampAt(byDepth ? log(range.y / z) / log(range.y / range.x) : texel.a);
#else
    shade = texel.rgb;
#endif
}
#else
in vec3 shade;
out vec4 colour;

void main() {
    colour = vec4(shade * opacity, opacity);
}
#endif
