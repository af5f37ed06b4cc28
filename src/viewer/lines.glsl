/* Lines with a width: six vertices a segment. What is drawn instance by instance is slow in software, so that they read
   their points from textures, row by row. */
precision highp float;

#ifdef VERTEX
uniform highp sampler2D points;
uniform sampler2D tints;
uniform sampler2D seen;   /* visibility and confidence */
uniform ivec4 layout_;    /* first point, points from a segment to the next, from its beginning to its end, texels a
                             row */
uniform mat4 view, projection;
uniform vec2 screen;      /* pixels */
uniform float width;      /* pixels */
uniform ivec2 ages;       /* segments of one age, of which the last are the newest; how many ages there are */
uniform vec2 old;         /* opacity and share of the width at the oldest end; 1 at the newest */
uniform vec2 least;       /* of visibility and confidence */
uniform float forward;    /* drawn this much nearer than it is, as a factor */
out vec4 shade;
out float across, half_;

ivec2 texel(int i) {
    return ivec2(i % layout_.w, i / layout_.w);
}

void main() {
    int corner = int[6](0, 1, 2, 2, 1, 3)[gl_VertexID % 6], segment = gl_VertexID / 6;
    bool second = corner > 1;
    float side = corner % 2 == 0 ? -1. : 1.;
    ivec2 from = texel(layout_.x + segment * layout_.y), to = texel(layout_.x + segment * layout_.y + layout_.z);
    vec4 tint = texelFetch(tints, to, 0);
    vec2 seenFrom = texelFetch(seen, from, 0).rg, seenTo = texelFetch(seen, to, 0).rg;
    vec3 a = (view * vec4(texelFetch(points, from, 0).xyz, 1)).xyz * forward;
    vec3 b = (view * vec4(texelFetch(points, to, 0).xyz, 1)).xyz * forward;
    gl_Position = vec4(0, 0, 2, 1);
    const float eye = 1e-3;
    if (tint.a == 0. || any(lessThanEqual(seenFrom, least)) || any(lessThanEqual(seenTo, least)) || max(a.z, b.z) < eye)
        return;
    if (a.z < eye) a = mix(a, b, (eye - a.z) / (b.z - a.z));
    if (b.z < eye) b = mix(b, a, (eye - b.z) / (a.z - b.z));
    vec4 p = projection * vec4(a, 1), q = projection * vec4(b, 1);
    vec2 along = (q.xy / q.w - p.xy / p.w) * screen;
    along = length(along) > 1e-4 ? normalize(along) : vec2(1, 0);
    float age = float(ages.y - segment / ages.x - (second ? 1 : 0)) / float(ages.y);
    half_ = 0.5 * width * mix(1., old.y, age) + 0.5;  /* and half a pixel, over which it fades */
    gl_Position = second ? q : p;
    vec2 offset = side * vec2(-along.y, along.x) + (second ? 0.5 : -0.5) * along;
    gl_Position.xy += 2. * half_ * offset / screen * gl_Position.w;
    across = side * half_;
    shade = vec4(tint.rgb, tint.a * mix(1., old.x, age));
}
#else
in vec4 shade;
in float across, half_;
out vec4 colour;

void main() {
    float alpha = shade.a * clamp(half_ - abs(across), 0., 1.);
    colour = vec4(shade.rgb * alpha, alpha);
}
#endif
