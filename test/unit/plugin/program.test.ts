/** The plugin as it is typed, against an API server over the wire: what is asked, what is printed, how it ends. */
import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ANNOTATION_REQUESTED_AT, ANNOTATION_ROTATE_REQUESTED_AT } from "../../../src/api/meta.ts";
import { EXIT } from "../../../src/plugin/exit.ts";
import { makeProgram } from "../../../src/plugin/program.ts";
import { type FakePeople, plugin, type Ran, refused, type Sitting, startFakePeople } from "../../support/fakePeople.ts";
import { NOW, personWith, READY, stalledBy, waitingFor } from "./people.ts";

const PEOPLE = "/apis/catalyst.openova.io/v1alpha1/namespaces/tenant-a/tenantusers";
const ADA = `${PEOPLE}/ada`;
const EVERYBODY = "/apis/catalyst.openova.io/v1alpha1/tenantusers";
const PODS = "/api/v1/namespaces/unified-rbac-system/pods";

let api: FakePeople;
beforeEach(async () => {
  api = await startFakePeople();
});
afterEach(() => api.close());

const go = (args: readonly string[], sitting: Sitting = {}): Promise<Ran> =>
  plugin(args, { now: () => NOW, ...sitting, env: { KUBECONFIG: api.kubeconfig, ...sitting.env } });
const give = (path: string, body: unknown, method = "GET") =>
  void api.answers.set(`${method} ${path}`, { status: 200, body });
const ada = (given: Parameters<typeof personWith>[0] = { conditions: [READY] }) => personWith(given);
/** As a list has them: without apiVersion and kind. */
const listOf = (...people: ReturnType<typeof ada>[]) => ({
  metadata: {},
  items: people.map(({ apiVersion: _a, kind: _k, ...rest }) => rest),
});

describe("a wrong command line", () => {
  test.each([
    [["frobnicate"], /unknown command 'frobnicate'/],
    [["why"], /missing required argument 'name'/],
    [["list", "-o", "xml"], /Allowed choices are wide, json, yaml/],
    [["wait", "ada", "--timeout", "soon"], /Write 30s, 5m or 1h30m/],
    [["status", "ada", "--last", "0"], /whole number/],
    [["purge", "--uuid", "all"], /must be a uuid/],
    [["export"], /--tenant/],
    [["cleanups", "--ops-url", "nonsense"], /must be a URL/],
  ])("%o ends with 2 and says why", async (args, said) => {
    api.answers.set("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", refused(403, "no"));
    const ran = await go(args);
    expect(ran).toMatchObject({ exit: EXIT.usage, out: "" });
    expect(ran.err).toMatch(said);
  });
});

test("every command's help has an example that names it, and the exit codes are documented", async () => {
  const program = makeProgram({ ...process, now: () => NOW, signal: new AbortController().signal }, () => undefined);
  const all = program.commands.flatMap((command) =>
    [command, ...command.commands].filter((each) => each.name() !== "help"),
  );
  expect(all.length).toBeGreaterThan(14);
  for (const command of all) {
    const path = command.parent === program ? [command.name()] : [command.parent?.name() ?? "", command.name()];
    const { exit, out } = await go([...path, "--help"]);
    expect(exit).toBe(0);
    expect(out).toMatch(new RegExp(`Example:\\n  .*kubectl tenantuser ${path.join(" ")}`));
  }
  expect((await go(["--help"])).out).toMatch(/Exit codes: 0 done.*5 Git owns/s);
});

describe("a kubeconfig", () => {
  test.each([
    ["that is not there", { KUBECONFIG: "/nope" }, [], /^There is no kubeconfig at \/nope: set KUBECONFIG/],
    ["without such a context", {}, ["--context", "mars"], /^The kubeconfig cannot be used: .* has no context mars\.$/],
  ])("%s is said in a sentence", async (_name, env, flags, said) => {
    const ran = await go(["list", ...flags], { env });
    expect(ran.exit).toBe(EXIT.failed);
    expect(ran.err.trim()).toMatch(said);
  });

  test("gives the namespace, unless -n or another context does", async () => {
    give(PEOPLE, listOf());
    expect((await go(["list"])).err).toBe("There are no TenantUsers in namespace tenant-a.\n");
    for (const flags of [
      ["-n", "b"],
      ["--context", "bare"],
    ])
      await go(["list", ...flags]);
    expect(api.seen.map(({ path }) => path)).toEqual([
      PEOPLE,
      PEOPLE.replace("tenant-a", "b"),
      PEOPLE.replace("tenant-a", "default"),
    ]);
  });
});

describe("a cluster that refuses", () => {
  test.each([
    [401, "Unauthorized", EXIT.forbidden, /context night does not know you \(401\): log in again/],
    [
      403,
      'tenantusers.catalyst.openova.io "ada" is forbidden: User "bob" cannot get resource "tenantusers"',
      EXIT.forbidden,
      /^You \(bob\) may not get tenantusers in namespace tenant-a: ask the platform for the rights of unified-rbac-oncall\.$/,
    ],
    [404, "the server could not find the requested resource", EXIT.notFound, /unified-rbac is not installed there/],
    [500, "etcdserver: no leader", EXIT.failed, /refused to get tenantusers in namespace tenant-a \(500\): etcdserver/],
  ])("with %i is a sentence", async (code, message, exit, said) => {
    api.answers.set(`GET ${ADA}`, refused(code, message));
    const ran = await go(["why", "ada"]);
    expect(ran).toMatchObject({ exit, out: "" });
    expect(ran.err.trim()).toMatch(said);
    expect(ran.err.trim().split("\n")).toHaveLength(1);
  });

  test("by silence is a sentence, and so is one that is no cluster", async () => {
    const { kubeconfig } = api;
    api.answers.set(`GET ${ADA}`, { status: 200, body: "<html>login</html>" });
    expect((await go(["why", "ada"])).err).toMatch(/an answer that is not its own/);
    const gone = await startFakePeople();
    const text = JSON.stringify({
      ...(await readJSON(kubeconfig)),
      clusters: (await readJSON(gone.kubeconfig)).clusters,
    });
    await gone.close();
    writeFileSync(kubeconfig, text);
    const ran = await go(["why", "ada"]);
    expect(ran.exit).toBe(EXIT.failed);
    expect(ran.err).toMatch(/^The cluster of context night does not answer \(.*ECONNREFUSED.*check the network/);
  });
});

async function readJSON(path: string): Promise<Record<string, unknown>> {
  const { readFile } = await import("node:fs/promises");
  return JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
}

describe("list", () => {
  const people = [
    ada(),
    ada({
      metadata: { name: "bob" },
      spec: { email: "bob@example.com" },
      conditions: stalledBy("NotAllowed", "No\u001B[2J."),
    }),
  ];

  test("shows who there is, in columns; -A everywhere, --not-ready without those who are well", async () => {
    give(PEOPLE, listOf(...people));
    give(EVERYBODY, listOf(...people));
    expect((await go(["list"])).out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["NAME", "EMAIL", "STATE", "STANDING", "REASON", "SINCE", "TRIES"],
      ["ada", "ada@example.com", "-", "ready", "Ready", "30 min", "0"],
      ["bob", "bob@example.com", "-", "stalled", "NotAllowed", "30 min", "0"],
      [""],
    ]);
    const all = (await go(["list", "-A", "--not-ready", "-o", "wide"])).out;
    expect(all).toMatch(/^NAMESPACE +NAME .*MESSAGE\ntenant-a +bob .* No \[2J\.\n$/);
  });

  test("reads every page", async () => {
    api.answers.set(`GET ${PEOPLE}`, ({ query }) => ({
      status: 200,
      body:
        query.get("continue") === "2" ? listOf(people[1] ?? ada()) : { ...listOf(ada()), metadata: { continue: "2" } },
    }));
    expect(JSON.parse((await go(["list", "-o", "json"])).out)).toMatchObject([{ name: "ada" }, { name: "bob" }]);
  });

  test("is in colour on a terminal, and plain where NO_COLOR is set", async () => {
    give(PEOPLE, listOf(...people));
    expect((await go(["list"], { typed: [] })).out).toContain("\u001B[31mNotAllowed");
    expect((await go(["list"], { typed: [], env: { NO_COLOR: "1" } })).out).not.toContain("\u001B");
  });

  test("gives JSON and YAML of the same", async () => {
    give(PEOPLE, listOf(ada()));
    const expected = {
      namespace: "tenant-a",
      name: "ada",
      email: "ada@example.com",
      phase: "ready",
      reason: "Ready",
    };
    expect(JSON.parse((await go(["list", "-o", "json"])).out)).toMatchObject([expected]);
    const { parse } = await import("yaml");
    expect(parse((await go(["list", "-o", "yaml"])).out)).toMatchObject([expected]);
  });
});

describe("status and why", () => {
  test("show what stands on the object where the state store may not be asked, and say so", async () => {
    give(ADA, ada());
    api.answers.set(`GET ${PODS}`, refused(403, 'pods is forbidden: User "bob" cannot list resource "pods"'));
    const ran = await go(["status", "ada"]);
    expect(ran.exit).toBe(0);
    expect(ran.out).toContain("Next      Nothing. The reconciler checks again");
    expect(ran.out).toMatch(/Note +Only what stands on the object is shown\. You \(bob\) may not list pods/);
  });

  test("say which command fixes it", async () => {
    give(ADA, ada({ conditions: stalledBy("SecretForeign", "Secret x is foreign.") }));
    const ran = await go(["why", "ada"]);
    expect(ran.out).toMatch(
      /is stalled since[^]*The\s+tenant\s+must\s+act\.[^]*\n\n {2}kubectl get secret SECRET -n tenant-a\n$/,
    );
    expect(JSON.parse((await go(["why", "ada", "-o", "json"])).out)).toMatchObject({
      reason: "SecretForeign",
      actor: "tenant",
    });
  });

  test.each(["status", "why"])("%s of nobody is 3 and a sentence", async (command) => {
    api.answers.set(`GET ${PODS}`, refused(403, "no"));
    const ran = await go([command, "ada"]);
    expect(ran).toMatchObject({ exit: EXIT.notFound, out: "" });
    expect(ran.err).toMatch(/^There is no TenantUser ada in namespace tenant-a, and the state store cannot be asked: /);
  });

  test("find no reconciler: a sentence with where was looked", async () => {
    give(PODS, {
      items: [
        { metadata: { name: "p" }, status: { containerStatuses: [{ name: "webhook", state: { running: {} } }] } },
      ],
    });
    expect((await go(["cleanups"])).err).toMatch(/^No reconciler runs in namespace unified-rbac-system/);
    await go(["cleanups", "--operator-namespace", "elsewhere"]);
    expect(api.seen.at(-1)?.path).toBe("/api/v1/namespaces/elsewhere/pods");
  });
});

describe("wait", () => {
  test("looks until it is so", async () => {
    let looks = 0;
    api.answers.set(`GET ${ADA}`, () => {
      looks += 1;
      return { status: 200, body: looks < 2 ? ada({ conditions: waitingFor("Progressing") }) : ada() };
    });
    expect(await go(["wait", "ada"])).toMatchObject({ exit: 0, out: "ada is Ready: Ready\n" });
    expect(looks).toBe(2);
    api.answers.delete(`GET ${ADA}`);
    expect(await go(["wait", "ada", "--for", "gone"])).toMatchObject({ exit: 0, out: "ada is gone\n" });
  });

  test("ends at once where it will not pass by itself, in time where it does not, and for nobody", async () => {
    give(ADA, ada({ conditions: stalledBy("NotAllowed", "Group x is not allowed.") }));
    expect(await go(["wait", "ada"])).toMatchObject({
      exit: EXIT.notYet,
      err: expect.stringMatching(/NotAllowed: Group x.*why ada/),
    });
    const suspended = { type: "Suspended", reason: "Suspended", message: "Suspended." };
    give(ADA, ada({ conditions: [...stalledBy("Suspended"), suspended] }));
    expect(await go(["wait", "ada"])).toMatchObject({ exit: EXIT.notYet, err: /is suspended, Suspended/ });
    give(ADA, ada({ conditions: [READY, suspended] }));
    expect((await go(["wait", "ada"])).exit).toBe(0);
    give(ADA, ada({ metadata: { deletionTimestamp: "2026-05-01T11:59:00Z" }, conditions: [READY] }));
    expect(await go(["wait", "ada"])).toMatchObject({ exit: EXIT.notYet, err: /is being deleted/ });
    give(ADA, ada({ conditions: waitingFor("EmailInUse", "Bob has it.") }));
    expect(await go(["wait", "ada", "--timeout", "0s"])).toMatchObject({
      exit: EXIT.notYet,
      err: "It did not happen within 0s. EmailInUse: Bob has it.\n",
    });
    api.answers.delete(`GET ${ADA}`);
    expect((await go(["wait", "ada"])).exit).toBe(EXIT.notFound);
  });
});

describe("what is written", () => {
  const managed = (manager: string, field: "suspend" | "requestedAt") => ({
    manager,
    operation: "Apply",
    fieldsV1:
      field === "suspend"
        ? { "f:spec": { "f:suspend": {} } }
        : { "f:metadata": { "f:annotations": { [`f:${ANNOTATION_REQUESTED_AT}`]: {} } } },
  });

  test.each([
    ["retry", { metadata: { annotations: { [ANNOTATION_REQUESTED_AT]: NOW.toISOString() } } }],
    ["rotate", { metadata: { annotations: { [ANNOTATION_ROTATE_REQUESTED_AT]: NOW.toISOString() } } }],
    ["suspend", { spec: { suspend: true } }],
  ])("by %s is a server-side apply as tenantuser-cli, without force", async (command, body) => {
    give(ADA, ada());
    give(ADA, ada(), "PATCH");
    expect((await go([command, "ada"])).exit).toBe(0);
    const { query, body: sent } = api.seen.at(-1) ?? {};
    expect([...(query ?? [])]).toEqual([["fieldManager", "tenantuser-cli"]]);
    expect(sent).toMatchObject(body);
  });

  test("is nothing where Git owns the field: the lines to commit are printed, and 5 is the end", async () => {
    give(ADA, ada({ metadata: { managedFields: [managed("kustomize-controller", "suspend")] }, conditions: [READY] }));
    const ran = await go(["suspend", "ada"]);
    expect(ran).toMatchObject({ exit: EXIT.gitOwns, out: "spec:\n  suspend: true\n" });
    expect(ran.err).toMatch(/^spec\.suspend of ada is set by kustomize-controller, so from Git: nothing was changed\./);
    expect(api.seen.filter(({ method }) => method === "PATCH")).toEqual([]);
    const data = JSON.parse((await go(["suspend", "ada", "-o", "json"])).out) as unknown;
    expect(data).toMatchObject({ changed: false, ownedBy: "kustomize-controller", commit: "spec:\n  suspend: true\n" });
  });

  test("is nothing where Git was first in the same moment", async () => {
    give(ADA, ada());
    const causes = [{ reason: "FieldManagerConflict", message: 'conflict with "kustomize-controller"' }];
    api.answers.set(`PATCH ${ADA}`, refused(409, "Apply failed with 1 conflict", { details: { causes } }));
    const ran = await go(["suspend", "ada"]);
    expect(ran).toMatchObject({
      exit: EXIT.gitOwns,
      err: 'Nothing was changed: conflict with "kustomize-controller".\n',
    });
  });

  test("is nothing where it is so already, or the object goes", async () => {
    give(ADA, ada());
    expect(await go(["resume", "ada"])).toMatchObject({ exit: 0, out: "ada is not suspended already\n" });
    give(ADA, ada({ metadata: { deletionTimestamp: "2026-05-01T11:59:00Z" }, conditions: [READY] }));
    expect(await go(["rotate", "ada"])).toMatchObject({ exit: EXIT.failed, err: /being deleted/ });
    expect(api.seen.filter(({ method }) => method === "PATCH")).toEqual([]);
  });

  test("is waited for: until this very request was carried out, or it stalls again", async () => {
    give(ADA, ada());
    give(ADA, ada(), "PATCH");
    let looks = 0;
    api.answers.set(`GET ${ADA}`, () => {
      looks += 1;
      const status = looks > 2 ? { lastHandledRequestedAt: NOW.toISOString() } : {};
      return { status: 200, body: ada({ status, conditions: [READY] }) };
    });
    expect(await go(["retry", "ada", "--wait"])).toMatchObject({ exit: 0, err: "ada: done.\n" });
    expect(looks).toBe(3);
    const lastError = { code: "UserClaimed", message: "No.", at: new Date(NOW.getTime() + 500).toISOString() };
    give(ADA, ada({ status: { lastError }, conditions: stalledBy("UserClaimed", "No.") }));
    expect((await go(["retry", "ada", "--wait"])).exit).toBe(EXIT.notYet);
  });

  test("is refused without the right to it: a sentence", async () => {
    give(ADA, ada());
    api.answers.set(`PATCH ${ADA}`, refused(403, 'User "bob" cannot patch resource "tenantusers"'));
    expect(await go(["retry", "ada"])).toMatchObject({
      exit: EXIT.forbidden,
      err: "You (bob) may not patch tenantusers in namespace tenant-a: ask the platform for the rights of unified-rbac-oncall.\n",
    });
  });
});

describe("the way to the operator's port", () => {
  const running = {
    metadata: { name: "unified-rbac-7f" },
    status: { containerStatuses: [{ name: "reconciler", state: { running: {} } }] },
  };
  const withKubectl = (script: string): Sitting => {
    writeFileSync(join(api.folder, "kubectl"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(api.folder, "kubectl"), 0o755);
    return { env: { PATH: `${api.folder}:/usr/bin:/bin` } };
  };

  test("is kubectl's port-forward, with the same cluster and the Pod whose reconciler runs", async () => {
    give(PODS, { items: [running] });
    const sitting = withKubectl(`echo "$@" > ${join(api.folder, "args")}; exit 1`);
    await go(["cleanups", "--context", "night", "--kubeconfig", api.kubeconfig], sitting);
    const { readFile } = await import("node:fs/promises");
    expect(await readFile(join(api.folder, "args"), "utf8")).toBe(
      `port-forward --kubeconfig ${api.kubeconfig} --context night -n unified-rbac-system pod/unified-rbac-7f :8082 --address 127.0.0.1\n`,
    );
  });

  test.each([
    [
      "may not",
      'echo "error: pods \\"x\\" is forbidden: cannot create resource" >&2; exit 1',
      EXIT.forbidden,
      /may not port-forward/,
    ],
    ["fails", 'echo "error: unable to forward port" >&2; exit 1', EXIT.failed, /failed: error: unable to forward port/],
    [
      "leads nowhere",
      'echo "Forwarding from 127.0.0.1:1 -> 8082"; exec sleep 60',
      EXIT.failed,
      /does not answer at its operator's port/,
    ],
  ])("that %s is a sentence", async (_name, script, exit, said) => {
    give(PODS, { items: [running] });
    const ran = await go(["cleanups"], withKubectl(script));
    expect(ran.exit).toBe(exit);
    expect(ran.err).toMatch(said);
  });

  test("without kubectl is a sentence", async () => {
    give(PODS, { items: [running] });
    expect((await go(["cleanups"], { env: { PATH: "/nonexistent" } })).err).toMatch(
      /^The program kubectl was not found/,
    );
  });
});

describe("completion", () => {
  const offers = async (...words: string[]) => (await go(["__complete", ...words])).out.trim().split("\n");

  test("knows commands, options, choices and people, and tells kubectl that files are none of them", async () => {
    give(PEOPLE, listOf(ada(), ada({ metadata: { name: "adele" }, conditions: [READY] })));
    expect(await offers("re")).toEqual(["resume", "retry", ":4"]);
    expect(await offers("why", "ad")).toEqual(["ada", "adele", ":4"]);
    expect(await offers("cleanups", "w")).toEqual(["waive", ":4"]);
    expect(await offers("list", "--not")).toEqual(["--not-ready", ":4"]);
    expect(await offers("list", "-o", "")).toEqual(["json", "wide", "yaml", ":4"]);
    expect(await offers("wait", "ada", "--for", "g")).toEqual(["gone", ":4"]);
    expect(await offers("completion", "z")).toEqual(["zsh", ":4"]);
    expect(await offers("status", "ada", "")).toEqual([":4"]);
  });

  test("asks in the namespace that was typed, and is silent where it may not", async () => {
    expect(await offers("why", "-n", "b", "")).toEqual([":4"]);
    expect(api.seen.at(-1)?.path).toBe(PEOPLE.replace("tenant-a", "b"));
  });

  test("works in a real bash", async () => {
    give(PEOPLE, listOf(ada()));
    const { out: script } = await go(["completion", "bash"]);
    writeFileSync(
      join(api.folder, "kubectl-tenantuser"),
      `#!/bin/sh\n[ "$1 $2 $3" = "__complete why a" ] && printf 'ada\\nadele\\n:4\\n'\n`,
    );
    chmodSync(join(api.folder, "kubectl-tenantuser"), 0o755);
    const typed = `${script}\nCOMP_WORDS=(kubectl-tenantuser why a); COMP_CWORD=2; _kubectl_tenantuser; echo "\${COMPREPLY[@]}"`;
    const env = { PATH: `${api.folder}:${process.env["PATH"] ?? ""}` };
    expect(execFileSync("bash", ["--norc", "-c", typed], { env, encoding: "utf8" })).toBe("ada adele\n");
  });

  test.each(["zsh", "fish", "kubectl"])("has a script for %s that asks the program itself", async (shell) => {
    const { out, exit } = await go(["completion", shell]);
    expect(exit).toBe(0);
    expect(out).toContain("kubectl-tenantuser __complete ");
  });
});
