import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EXIT } from "../../../src/plugin/exit.ts";
import { makeProgram } from "../../../src/plugin/program.ts";
import { OPERATOR_PORT } from "../../../src/plugin/tunnel.ts";
import { NOW } from "./people.ts";

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const page = read("docs/kubectl-tenantuser.md");

describe("the page about the plugin", () => {
  test("has every command", () => {
    const program = makeProgram({ ...process, now: () => NOW, signal: new AbortController().signal }, () => undefined);
    const names = program.commands.map((command) => command.name());
    expect(names.filter((name) => !new RegExp(`^\\| .*\`${name}\\b`, "m").test(page))).toEqual([]);
  });

  test("has every exit code", () => {
    const told = [...page.matchAll(/^\| +(\d+) \| /gm)].map(([, code]) => Number(code));
    expect(told).toEqual([...Object.values(EXIT), 130]);
  });

  test("shows a healthy, a waiting and a stalled person", () => {
    for (const said of ["Phase     Ready, ready", "Phase     EmailInUse, underway", "Phase     NotAllowed, stalled"]) {
      expect(page).toContain(said);
    }
    for (const name of ["ada", "grace", "linus"])
      expect(page).toContain(`$ kubectl tenantuser why ${name} -n tenant-acme`);
  });
});

test("the port that the plugin goes to is the one that the Deployment opens", () => {
  expect(read("manifests/deploy/deployment.yaml")).toContain(
    `{ name: OPERATOR_ADDRESS, value: "127.0.0.1:${OPERATOR_PORT}" }`,
  );
});

test("the package brings the plugin under the name that kubectl looks for", () => {
  const { bin } = JSON.parse(read("package.json")) as { bin: Record<string, string> };
  expect(bin["kubectl-tenantuser"]).toBe("dist/kubectl-tenantuser.js");
  expect(read("src/kubectl-tenantuser.ts").startsWith("#!/usr/bin/env node\n")).toBe(true);
});
