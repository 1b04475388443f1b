import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// The SDK as one module that any page may import: `import { connect } from "http://…/sdk/liveroom.js"`.
export default defineConfig({
  root: here("../js"),
  publicDir: false,
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: here("../js/src/index.ts"),
      preserveEntrySignatures: "strict",
      output: { entryFileNames: "liveroom.js", codeSplitting: false },
    },
  },
});
