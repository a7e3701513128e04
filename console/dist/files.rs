// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-892bd6d0.js", include_bytes!("fr-892bd6d0.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-28cc0db9.js", include_bytes!("rw-28cc0db9.js") as &[u8], true),
    ("views-c3c59d54.js", include_bytes!("views-c3c59d54.js") as &[u8], true),
]
