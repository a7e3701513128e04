// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-b6a402b9.js", include_bytes!("fr-b6a402b9.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-f41d400d.js", include_bytes!("rw-f41d400d.js") as &[u8], true),
    ("views-d349aadf.js", include_bytes!("views-d349aadf.js") as &[u8], true),
]
