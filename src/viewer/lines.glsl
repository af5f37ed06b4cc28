/* Lines with a width: an instance is a segment, its four corners one strip. */
precision highp float;

#ifdef VERTEX
layout(location = 0) in vec3 from;
layout(location = 1) in vec3 to;
layout(location = 2) in vec4 tint;
layout(location = 3) in vec2 seenFrom;  /* visibility and confidence */
layout(location = 4) in vec2 seenTo;
uniform mat4 view, projection;
uniform vec2 screen;     /* pixels */
uniform vec2 width;      /* pixels, at either end */
uniform vec2 fade;       /* opacity at either end */
uniform vec2 least;      /* of visibility and confidence */
uniform float forward;   /* drawn this much nearer than it is, as a factor */
out vec4 shade;
out float across, half_;

void main() {
    bool second = gl_VertexID > 1;
    float side = gl_VertexID % 2 == 0 ? -1. : 1.;
    vec3 a = (view * vec4(from, 1)).xyz * forward, b = (view * vec4(to, 1)).xyz * forward;
    gl_Position = vec4(0, 0, 2, 1);
    const float eye = 1e-3;
    if (tint.a == 0. || any(lessThanEqual(seenFrom, least)) || any(lessThanEqual(seenTo, least)) || max(a.z, b.z) < eye)
        return;
    if (a.z < eye) a = mix(a, b, (eye - a.z) / (b.z - a.z));
    if (b.z < eye) b = mix(b, a, (eye - b.z) / (a.z - b.z));
    vec4 p = projection * vec4(a, 1), q = projection * vec4(b, 1);
    vec2 along = (q.xy / q.w - p.xy / p.w) * screen;
    along = length(along) > 1e-4 ? normalize(along) : vec2(1, 0);
    half_ = 0.5 * (second ? width.y : width.x) + 0.5;  /* and half a pixel, over which it fades */
    gl_Position = second ? q : p;
    vec2 corner = side * vec2(-along.y, along.x) + (second ? 0.5 : -0.5) * along;
    gl_Position.xy += 2. * half_ * corner / screen * gl_Position.w;
    across = side * half_;
    shade = vec4(tint.rgb, tint.a * (second ? fade.y : fade.x));
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
