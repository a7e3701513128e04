// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-5cac06f7.js", include_bytes!("fr-5cac06f7.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-f029da06.js", include_bytes!("rw-f029da06.js") as &[u8], true),
    ("views-fe4ed46e.js", include_bytes!("views-fe4ed46e.js") as &[u8], true),
]
