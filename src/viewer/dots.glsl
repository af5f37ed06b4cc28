/* Balls at the points of tracks. */
precision highp float;

#ifdef VERTEX
uniform highp sampler2D points;
uniform sampler2D tints;
uniform sampler2D seen;  /* visibility and confidence */
uniform ivec2 layout_;   /* first point, texels a row */
uniform mat4 view, projection;
uniform vec2 least;      /* of visibility and confidence */
uniform float forward;   /* drawn this much nearer than it is, as a factor */
uniform vec2 size;       /* across: of the world at depth 1, and at least, in pixels */
uniform ivec2 ages;      /* dots of one age, of which the last are the newest; how many ages there are */
uniform float old;       /* opacity of the oldest */
out vec4 shade;
out float radius;

void main() {
    ivec2 at = ivec2((layout_.x + gl_VertexID) % layout_.y, (layout_.x + gl_VertexID) / layout_.y);
    vec3 place = (view * vec4(texelFetch(points, at, 0).xyz, 1)).xyz * forward;
    vec4 tint = texelFetch(tints, at, 0);
    gl_Position = vec4(0, 0, 2, 1);
    if (tint.a == 0. || any(lessThanEqual(texelFetch(seen, at, 0).rg, least)) || place.z <= 0.)
        return;
    gl_Position = projection * vec4(place, 1);
    gl_PointSize = max(size.x / place.z, size.y) + 2.;
    radius = 0.5 * gl_PointSize;
    shade = vec4(tint.rgb, tint.a * mix(1., old, float(ages.y - gl_VertexID / ages.x) / float(ages.y)));
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
