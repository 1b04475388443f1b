import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Apart from vite.config.ts: tests of plain code need neither the pages nor the engine.
export default defineConfig({
  resolve: {
    alias: { "liveroom-client": fileURLToPath(new URL("../js/src/index.ts", import.meta.url)) },
  },
  test: { include: ["tests/**/*.test.ts"], pool: "threads" },
});
