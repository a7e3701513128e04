import { defineConfig } from "vite";

// What the dev server is in front of: a node with a crowd (`outrider demo`), or `e2e/mock.mjs`.
const NODE = process.env.OUTRIDER_AT ?? "http://127.0.0.1:7070";

export default defineConfig({
  // Relative, so that a proxy may serve the console below another path.
  base: "./",
  resolve: { alias: { "@outrider/client": new URL("../clients/typescript/src/index.ts", import.meta.url).pathname } },
  build: {
    target: "es2022",
    // Each name is a line in src/gateway/console.rs; the node says by a hash when one has changed.
    rollupOptions: {
      output: {
        entryFileNames: "console.js", chunkFileNames: "[name].js",
        // One style sheet; what else there is (MapLibre's worker) keeps its name.
        assetFileNames: ({ names }) => (names.some((it) => it.endsWith(".css")) ? "console.css" : "[name][extname]"),
      },
    },
    assetsInlineLimit: 0,
    modulePreload: false,
    // MapLibre is a megabyte, which only a map with real streets asks for.
    chunkSizeWarningLimit: 1200,
    reportCompressedSize: false,
  },
  server: {
    proxy: Object.fromEntries(["/v1", "/admin", "/metrics", "/health", "/city.json", "/console/basemap", "/demo"].map((path) => [path, { target: NODE, ws: path === "/v1" }])),
  },
});
