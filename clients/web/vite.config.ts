import { fileURLToPath } from "node:url";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";
import { engine } from "./dev.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const pages = (process.env.LIVEROOM_PAGES ?? "viewer,host,ops").split(",");

// The wheel ships what is built: nobody who runs the engine needs Node. Names carry a hash of the
// contents, so that browsers keep them for good; the pages themselves are asked for each time.
// `npm run build` (build.mjs) runs this and puts the result in its place.
export default defineConfig(({ command }) => ({
  root: here("src"),
  base: command === "build" ? "/static/" : "/",
  plugins: [preact({ prefreshEnabled: false, devToolsEnabled: false }), engine()],
  resolve: { alias: { "liveroom-client": here("../js/src/index.ts") } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the policy allows no data: fonts or scripts
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      input: Object.fromEntries(pages.map((page) => [page, here(`src/${page}.html`)])),
      output: {
        entryFileNames: "[name]-[hash].js",
        chunkFileNames: "[name]-[hash].js",
        assetFileNames: "[name]-[hash][extname]",
      },
    },
  },
}));
