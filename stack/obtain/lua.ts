import { readFileSync } from "node:fs";
import { join } from "node:path";

import { lockDir } from "../paths.ts";
import { run } from "../process.ts";
import { cached, cacheKey } from "./cache.ts";

const PACKAGE = "github.com/yuin/gopher-lua/cmd/glua";

/** An interpreter of the Lua that Argo CD embeds: its path. Built once. */
export async function obtainLua(): Promise<string> {
  const cwd = lockDir("lua");
  const contents = Object.fromEntries(
    ["go.mod", "go.sum"].map((file) => [file, readFileSync(join(cwd, file), "utf8")] as const),
  );
  const entry = await cached(
    cacheKey("lua", contents),
    () => {},
    async (draft) => {
      const args = ["build", "-trimpath", "-o", join(draft, "glua"), PACKAGE];
      await run({ file: "go", args, cwd, env: { GOFLAGS: "", GOWORK: "off", CGO_ENABLED: "0" } });
    },
  );
  return join(entry, "glua");
}
