/* Balls at the points of tracks. */
precision highp float;

#ifdef VERTEX
layout(location = 0) in vec3 from;
layout(location = 2) in vec4 tint;
layout(location = 3) in vec2 seenFrom;
uniform mat4 view, projection;
uniform vec2 least;      /* of visibility and confidence */
uniform float forward;   /* drawn this much nearer than it is, as a factor */
uniform vec2 size;       /* across: of the world at depth 1, and at least, in pixels */
uniform float fade;
out vec4 shade;
out float radius;

void main() {
    vec3 seen = (view * vec4(from, 1)).xyz * forward;
    gl_Position = vec4(0, 0, 2, 1);
    if (tint.a == 0. || any(lessThanEqual(seenFrom, least)) || seen.z <= 0.)
        return;
    gl_Position = projection * vec4(seen, 1);
    gl_PointSize = max(size.x / seen.z, size.y) + 2.;
    radius = 0.5 * gl_PointSize;
    shade = vec4(tint.rgb, tint.a * fade);
}
#else
in vec4 shade;
in float radius;
out vec4 colour;

void main() {
    vec2 p = (gl_PointCoord - 0.5) * 2.;
    float r = length(p), inside = clamp(radius * (1. - r), 0., 1.);
    if (inside == 0.)
        discard;
    float light = 0.72 + 0.4 * max(0., dot(normalize(vec3(p, sqrt(max(0., 1. - r * r)))), vec3(-0.4, -0.5, 0.77)));
    float alpha = shade.a * inside;
    colour = vec4(min(shade.rgb * light * mix(0.55, 1., clamp(radius * (0.97 - r), 0., 1.)), 1.) * alpha, alpha);
}
#endif
