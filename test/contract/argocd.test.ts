/** The health program of docs/argocd.md, in the Lua that Argo CD embeds. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";

import { obtainLua } from "../../stack/obtain/lua.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/argocd.md"), "utf8");
const blocks = Array.from(page.matchAll(/^```yaml\n([\s\S]*?)^```/gm), ([, text = ""]) => text);
const { data } = z
  .object({ data: z.record(z.string(), z.string()) })
  .parse(parse(blocks.find((text) => text.startsWith("data:")) ?? ""));

let lua: string;
let folder: string;
beforeAll(async () => {
  lua = await obtainLua();
  folder = mkdtempSync(join(tmpdir(), "unified-rbac-lua-"));
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A JSON value as Lua writes it; null is what is not there. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(literal).join(",")}}`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, each]) => `[${JSON.stringify(key)}]=${literal(each)}`)
      .join(",")}}`;
  }
  return value === undefined ? "nil" : JSON.stringify(value);
}

function health(kind: string, object: unknown): { status: string; message: string } {
  const program = data[`resource.customizations.health.catalyst.openova.io_${kind}`] ?? "";
  const file = join(folder, "health.lua");
  writeFileSync(
    file,
    `local function health(obj)\n${program}\nend\nlocal hs = health(${literal(object)})\nio.write(hs.status, "\\n", hs.message)`,
  );
  const [status = "", message = ""] = execFileSync(lua, [file], { encoding: "utf8" }).split("\n");
  return { status, message };
}

const condition = (type: string, status: string, reason: string, message = `${reason}.`) => ({
  type,
  status,
  reason,
  message,
});
const object = (conditions: readonly object[], observedGeneration = 2) => ({
  metadata: { generation: 2 },
  status: { observedGeneration, conditions },
});

describe.each(["TenantUser", "Tenant"])("the health of a %s", (kind) => {
  it.each([
    ["without a status", { metadata: { generation: 1 } }, "Progressing", "Waiting for the reconciler."],
    [
      "as the definition defaults it",
      { metadata: { generation: 1 }, status: { observedGeneration: -1 } },
      "Progressing",
      "Waiting for the reconciler.",
    ],
    [
      "seen at an older generation",
      object([condition("Ready", "True", "Ready")], 1),
      "Progressing",
      "Waiting for the reconciler.",
    ],
    ["Ready", object([condition("Ready", "True", "Ready")]), "Healthy", "Ready: Ready."],
    [
      "tried again",
      object([
        condition("Ready", "False", "UpstreamUnavailable"),
        condition("Reconciling", "True", "ProgressingWithRetry"),
      ]),
      "Progressing",
      "UpstreamUnavailable: UpstreamUnavailable.",
    ],
    [
      "stalled",
      object([
        condition("Ready", "False", "NotAllowed"),
        condition("Stalled", "True", "NotAllowed", "Ask the platform."),
      ]),
      "Degraded",
      "NotAllowed: Ask the platform.",
    ],
    [
      "suspended",
      object([condition("Ready", "True", "Ready"), condition("Suspended", "True", "Suspended")]),
      "Suspended",
      "Ready: Ready.",
    ],
  ])("that is %s", (_what, seen, status, message) => {
    expect(health(kind, seen)).toEqual({ status, message });
  });
});

it("every YAML block of the page can be read", () => {
  expect(blocks.length).toBeGreaterThan(3);
  for (const block of blocks) expect(() => z.unknown().parse(parse(block))).not.toThrow();
});
