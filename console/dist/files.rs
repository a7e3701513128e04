// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-bb74593f.js", include_bytes!("fr-bb74593f.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-3344e00e.js", include_bytes!("rw-3344e00e.js") as &[u8], true),
    ("views-ef5f4d67.js", include_bytes!("views-ef5f4d67.js") as &[u8], true),
]
