// Made by vite.config.ts.
&[
    ("basemap.js", include_bytes!("basemap.js") as &[u8], false),
    ("console.css", include_bytes!("console.css") as &[u8], false),
    ("console.js", include_bytes!("console.js") as &[u8], false),
    ("favicon.svg", include_bytes!("favicon.svg") as &[u8], false),
    ("fr-598a586a.js", include_bytes!("fr-598a586a.js") as &[u8], true),
    ("index.html", include_bytes!("index.html") as &[u8], false),
    ("maplibre-gl-worker.mjs", include_bytes!("maplibre-gl-worker.mjs") as &[u8], false),
    ("rw-592afaac.js", include_bytes!("rw-592afaac.js") as &[u8], true),
    ("views-87b84b0a.js", include_bytes!("views-87b84b0a.js") as &[u8], true),
]
