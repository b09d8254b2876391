/** The way of the data, kept by a test: a folder imports from those below it and from itself only. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { forwardClosures } from "../support/forwardClosures.ts";

const SRC = resolve(import.meta.dirname, "../../src");

const LAYER: Readonly<Record<string, number>> = {
  lib: 0,
  api: 0,
  saga: 1,
  store: 2,
  kube: 2,
  keycloak: 2,
  gateway: 2,
  bus: 2,
  tls: 2,
  steps: 3,
  reconciler: 4,
  admission: 5,
  triggers: 5,
  ops: 5,
  cli: 6,
  plugin: 5,
  roles: 6,
  entries: 7,
  "main.ts": 8,
  "commands.ts": 6,
  "kubectl-tenantuser.ts": 8,
};

/** Upstreams of one layer that may know each other: each line is a decision. */
const ALLOWED_BESIDE = new Set(["api -> lib", "commands.ts -> cli"]);
/** Types only: a step and the engine speak of upstreams by their interfaces. */
const PURE = ["api", "saga"];
const EFFECTS = /^node:(fs|net|http|https|http2|child_process|dgram|tls)/;

interface Import {
  readonly file: string;
  readonly from: string;
  readonly specifier: string;
  readonly to: string | undefined;
}

function imports(): Import[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => {
      const text = readFileSync(join(SRC, file), "utf8");
      const found = text.matchAll(
        /(?:^|\n)\s*(?:import|export)\b[^;]*?from\s+"([^"]+)"|import\("([^"]+)"\)|^import "([^"]+)"/gm,
      );
      return Array.from(found, (match): Import => {
        const specifier = match[1] ?? match[2] ?? match[3] ?? "";
        const target = specifier.startsWith(".") ? relative(SRC, resolve(SRC, dirname(file), specifier)) : undefined;
        return { file, from: top(file), specifier, to: target === undefined ? undefined : top(target) };
      });
    });
}

const top = (file: string): string => file.split("/")[0] ?? file;

describe("the layers of src", () => {
  const all = imports();

  it("know every folder", () => {
    expect([...new Set(all.map(({ from }) => from))].filter((folder) => LAYER[folder] === undefined)).toEqual([]);
    expect(all.length).toBeGreaterThan(300);
  });

  it("import from below and from their own folder only", () => {
    const wrong = all.filter(({ from, to }) => {
      if (to === undefined || from === to || ALLOWED_BESIDE.has(`${from} -> ${to}`)) return false;
      return (LAYER[to] ?? 99) >= (LAYER[from] ?? -1);
    });
    expect(wrong.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
  });

  it("keep api and saga free of effects; only the generator writes files", () => {
    const wrong = all.filter(
      ({ from, file, specifier }) => PURE.includes(from) && EFFECTS.test(specifier) && file !== "api/generate.ts",
    );
    expect(wrong.map(({ file, specifier }) => `${file} imports ${specifier}`)).toEqual([]);
  });

  it("give admission neither steps, nor a Kubernetes client, nor the reconciler, nor the commands for people", () => {
    const reached = new Set<string>();
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      for (const entry of all.filter((one) => one.file === file && one.to !== undefined)) {
        visit(relative(SRC, resolve(SRC, dirname(file), entry.specifier)));
      }
    };
    visit("roles/webhook.ts");
    const forbidden = [...reached].filter((file) =>
      ["steps", "kube", "reconciler", "keycloak", "gateway", "cli"].includes(top(file)),
    );
    expect(forbidden).toEqual([]);
    expect(reached.has("admission/server.ts")).toBe(true);
  });

  it("give the plugin nothing of the service but its ways to the API server and its words", () => {
    const used = all.filter(({ from }) => from === "plugin").flatMap(({ to }) => to ?? []);
    expect([...new Set(used)].toSorted()).toEqual(["api", "kube", "lib", "plugin"]);
  });

  it("let only the programs touch the process: all others are handed what they use of it", () => {
    const texts = new Map(
      [...new Set(all.map(({ file }) => file))].map((file) => [file, readFileSync(join(SRC, file), "utf8")] as const),
    );
    const environment = [...texts].filter(([, text]) => text.includes("process.env")).map(([file]) => file);
    const exits = [...texts].filter(([, text]) => text.includes("process.exit(")).map(([file]) => file);
    expect(environment).toEqual([]);
    expect(exits.toSorted()).toEqual(["commands.ts", "main.ts"]);
  });

  it("know no circle, not even of types", () => {
    const targets = Map.groupBy(all, ({ file }) => file);
    const path: string[] = [];
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file)) return;
      done.add(file);
      path.push(file);
      for (const { specifier, to } of targets.get(file) ?? []) {
        if (to !== undefined) visit(relative(SRC, resolve(SRC, dirname(file), specifier)));
      }
      path.pop();
    };
    for (const file of targets.keys()) visit(file);
    expect(circles).toEqual([]);
  });
});

describe("a closure", () => {
  it("names nothing that its function makes further down, so that no ring is closed by one", () => {
    const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
    const found = files.flatMap((file) =>
      forwardClosures(readFileSync(join(SRC, file), "utf8")).map(({ name, line }) => `${file}:${line} names ${name}`),
    );
    expect(files.length).toBeGreaterThan(200);
    expect(found).toEqual([]);
  });

  it.each([
    ["an arrow function", "const a = () => b.run(); const b = 1;", ["b"]],
    ["a method of an object", "const a = make({ recovered() { b(); } }); const b = 1;", ["b"]],
    ["a function declaration", "function a() { return b; } let b = 1;", ["b"]],
    ["a closure in a closure", "const a = () => () => ({ b }); const { b } = c;", ["b"]],
    ["a class", "const a = () => new B(); class B {}", ["B"]],
    ["what is made inside a block", "if (x) { const a = () => b; const b = 1; }", ["b"]],
    ["what an inner function makes", "const a = () => { const c = () => d; const d = 1; };", ["d"]],
    ["a thing made before", "const b = 1; const a = () => b;", []],
    ["itself", "const timer = set(() => clear(timer));", []],
    ["a function declaration further down", "const a = () => b(); function b() {}", []],
    ["a property or a type of that name", "const a = () => ({ b: c.b as typeof b }); const b = 1;", []],
    ["its own name for another thing", "const a = (b: number) => b; const b = 1;", []],
    ["nothing: no closure", "a(b); const b = 1;", []],
  ])("is found when it names something too early: %s", (_what, body, names) => {
    expect(forwardClosures(`function f() { ${body} }`).map(({ name }) => name)).toEqual(names);
  });
});
