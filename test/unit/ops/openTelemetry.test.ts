import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { TransientError } from "../../../src/lib/errors.ts";
import { noTracer } from "../../../src/lib/tracing.ts";
import { collectSpans } from "../../support/spans.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("a span lies below the one that the caller runs in, wherever it awaited, and beside those of others", async () => {
  const { tracer, all } = collectSpans();
  const person = (name: string) =>
    tracer.inTrace(undefined, name, {}, async () => {
      await sleep(1);
      await tracer.inSpan(`step of ${name}`, {}, async () => {
        await sleep(1);
        tracer.open(`call of ${name}`, { kind: "client" }).end();
      });
    });
  await Promise.all([person("ada"), person("eve")]);
  const spans = await all();
  const named = (name: string) => spans.find((span) => span.name === name);
  for (const name of ["ada", "eve"]) {
    expect(named(name)).toMatchObject({ parent: undefined, kind: "internal" });
    expect(named(`step of ${name}`)).toMatchObject({ parent: named(name)?.id, trace: named(name)?.trace });
    expect(named(`call of ${name}`)).toMatchObject({ parent: named(`step of ${name}`)?.id, kind: "client" });
  }
  expect(named("ada")?.trace).not.toBe(named("eve")?.trace);
  expect(spans).toHaveLength(6);
});

test("outside of every span nothing is traced but the beginning of a trace", async () => {
  const { tracer, all } = collectSpans();
  await tracer.inSpan("a check", {}, (span) => Promise.resolve(expect(span.traceparent).toBeUndefined()));
  tracer.open("a call", {}).end();
  await tracer.inTrace(undefined, "a claim", {}, () => Promise.resolve());
  expect((await all()).map(({ name }) => name)).toEqual(["a claim"]);
});

test("a trace continues from a traceparent, in another process too", async () => {
  const { tracer, all } = collectSpans();
  const next = await tracer.inTrace(PARENT, "first", {}, (span) => Promise.resolve(span.traceparent));
  await tracer.inTrace(next, "second", {}, () => Promise.resolve());
  const [first, second] = await all();
  expect(first).toMatchObject({ trace: "0af7651916cd43dd8448eb211c80319c", parent: "b7ad6b7169203331" });
  expect(second).toMatchObject({ trace: first?.trace, parent: first?.id });
});

test("what nobody keeps is passed on as that, and is not sent", async () => {
  const { tracer, all } = collectSpans("always_off");
  const told = await tracer.inTrace(undefined, "a claim", {}, (span) => Promise.resolve(span.traceparent));
  expect(told).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  expect(await all()).toEqual([]);
});

test("a share of traces is kept, and a parent decides for what lies below", async () => {
  const { tracer, all } = collectSpans("parentbased_traceidratio", 0);
  await tracer.inTrace(undefined, "begun here", {}, () => Promise.resolve());
  await tracer.inTrace(PARENT, "kept elsewhere", {}, () => Promise.resolve());
  expect((await all()).map(({ name }) => name)).toEqual(["kept elsewhere"]);
});

test("a failure is marked by its kind alone, and thrown", async () => {
  const { tracer, all } = collectSpans();
  const failure = new TransientError({ code: "UpstreamUnavailable", message: "ada@example.com is held." });
  await expect(tracer.inTrace(undefined, "a step", {}, () => Promise.reject(failure))).rejects.toBe(failure);
  const spans = await all();
  expect(spans).toMatchObject([{ failed: true, attributes: { "error.type": "UpstreamUnavailable" } }]);
  expect(JSON.stringify(spans)).not.toContain("ada@example.com");
});

test("attributes are cut and freed of credentials, and absent ones are left out", async () => {
  const { tracer, all } = collectSpans();
  const attributes = {
    "unified_rbac.object.name": `sk-hunter2hunter2 ${"x".repeat(500)}`,
    "unified_rbac.attempt": 2,
    "server.address": undefined,
  };
  await tracer.inTrace(undefined, "a step", { attributes }, () => Promise.resolve());
  const [span] = await all();
  expect(Object.keys(span?.attributes ?? {})).toEqual(["unified_rbac.object.name", "unified_rbac.attempt"]);
  expect(String(span?.attributes["unified_rbac.object.name"])).toMatch(/^\[redacted\] x{100}/);
  expect(String(span?.attributes["unified_rbac.object.name"]).length).toBeLessThanOrEqual(256);
});

test("spans name the service, its version and the instance", async () => {
  const { tracer, all } = collectSpans();
  await tracer.inTrace(undefined, "a claim", {}, () => Promise.resolve());
  expect((await all())[0]?.resource).toMatchObject({
    "service.name": "unified-rbac-test",
    "service.version": "1.2.3",
    "service.instance.id": expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  });
});

test("without tracing the work is done, and nothing else", async () => {
  expect(await noTracer.inTrace(PARENT, "a claim", {}, ({ traceID }) => Promise.resolve([traceID]))).toEqual([
    undefined,
  ]);
  expect(await noTracer.inSpan("a step", {}, () => Promise.resolve(7))).toBe(7);
  noTracer.open("a call", {}).fail(new Error("x"));
});
