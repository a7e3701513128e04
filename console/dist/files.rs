// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-b3fdac6e.js", include_bytes!("fr-b3fdac6e.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-5f8957cd.js", include_bytes!("rw-5f8957cd.js") as &[u8], true),
    ("views-9ea2fd6d.js", include_bytes!("views-9ea2fd6d.js") as &[u8], true),
]
