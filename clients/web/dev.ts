import type { Plugin } from "vite";

const viewers = process.env.LIVEROOM_URL ?? "http://127.0.0.1:8080";
const operations = process.env.LIVEROOM_OPS_URL ?? "http://127.0.0.1:9090";

/** The engine takes sockets from pages of its own origin: so they come from there. */
const socket = { target: viewers, ws: true, changeOrigin: true, rewriteWsOrigin: true };

const PAGES: Record<string, string> = {
  "/": "/viewer.html",
  "/host": "/host.html",
  "/ops": "/ops.html",
};

/** For `npm run dev`: the pages at the engine's own paths, everything else from a running engine. */
export function engine(): Plugin {
  return {
    name: "liveroom-engine",
    apply: "serve",
    config: () => ({
      server: {
        proxy: {
          "/ws": socket,
          "/control": socket,
          "/api": viewers,
          "/metrics": operations,
          "/status": operations,
        },
      },
    }),
    configureServer(server) {
      server.middlewares.use((request, _, next) => {
        const [path = "", query] = (request.url ?? "").split("?");
        const page = PAGES[path];
        if (page) request.url = query ? `${page}?${query}` : page;
        next();
      });
    },
  };
}
