import { existsSync } from "node:fs";
import { join } from "node:path";

import { projectRoot } from "../paths.ts";
import { httpOk } from "../probe.ts";
import type { Part } from "./part.ts";

const script = join(projectRoot, "stack", "newapi", "main.ts");

export const newapi: Part = {
  name: "newapi",
  title: "NewAPI stand-in",
  needs: [],
  present: () => existsSync(script),
  command: ({ ports, secrets }) => ({
    file: process.execPath,
    args: [script],
    env: {
      HOST: "127.0.0.1",
      PORT: `${ports.newapi}`,
      ADMIN_TOKEN: secrets.newapi,
      // Options of whoever starts us (a test runner, a debugger) are not for this process.
      NODE_OPTIONS: "",
    },
  }),
  ready: ({ env }) => httpOk(`${env.NEWAPI_URL}/healthz`),
};
