// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-ed27b94b.js", include_bytes!("fr-ed27b94b.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-74ce46da.js", include_bytes!("rw-74ce46da.js") as &[u8], true),
    ("views-6bf3696c.js", include_bytes!("views-6bf3696c.js") as &[u8], true),
]
