// The console's own modules, as Vite reads them, without a browser.

import { createServer } from "vite";

/** Resolves to {load, close}: `load("/src/jobs.ts")` is that module. */
export async function startModules() {
  const vite = await createServer({
    root: new URL("..", import.meta.url).pathname, logLevel: "error", appType: "custom",
    server: { middlewareMode: true, hmr: false, ws: false, watch: null }, optimizeDeps: { noDiscovery: true },
  });
  return { load: (path) => vite.ssrLoadModule(path), close: () => vite.close() };
}
