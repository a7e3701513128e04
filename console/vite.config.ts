import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

// What the dev server is in front of: a node with a crowd (`outrider demo`), or `e2e/mock.mjs`.
const NODE = process.env.OUTRIDER_AT ?? "http://127.0.0.1:7070";

export default defineConfig({
  // Relative, so that a proxy may serve the console below another path.
  base: "./",
  resolve: { alias: { "@outrider/client": new URL("../clients/typescript/src/index.ts", import.meta.url).pathname } },
  build: {
    target: "es2022",
    rollupOptions: {
      output: {
        // While nodes are replaced a browser may have a page of one and its script of another: whatever node has it, it is called the same,
        // and says by a hash when it has changed. So does what stands on its own (what draws streets).
        entryFileNames: "console.js",
        // What goes with one script only is called by what it is: a node of another build does not have it, and says so.
        chunkFileNames: ({ name }) => (name === "basemap" ? "[name].js" : "[name]-[hash].js"),
        hashCharacters: "hex",
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
  plugins: [listed()],
  server: {
    proxy: Object.fromEntries(["/v1", "/admin", "/metrics", "/health", "/city.json", "/console/basemap", "/demo"].map((path) => [path, { target: NODE, ws: path === "/v1" }])),
  },
});

/** Lists what was made, as Rust, for whoever embeds it (src/gateway/console.rs): its name, its content, and whether that name is good for this content only. */
function listed(): Plugin {
  const LIST = "files.rs";
  return {
    name: "listed", apply: "build",
    writeBundle({ dir }, bundle) {
      const isLasting = (name: string): boolean => /-[0-9a-f]{8}\.js$/.test(name) && bundle[name]?.type === "chunk";
      const lines = readdirSync(dir!).filter((name) => name !== LIST).sort()
        .map((name) => `    (${JSON.stringify(name)}, include_bytes!(${JSON.stringify(name)}) as &[u8], ${isLasting(name)}),\n`);
      writeFileSync(join(dir!, LIST), `// Made by vite.config.ts.\n&[\n${lines.join("")}]\n`);
    },
  };
}
