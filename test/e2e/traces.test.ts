/** One trace from the admission to Ready, as a collector receives it, though the reconciler is killed in the middle. */
import { afterAll, assert, beforeAll, expect, it } from "vitest";

import { openPlatform, type Platform } from "../support/platform.ts";
import { type OtlpCollector, type ReceivedSpan, startCollector } from "../support/otlp.ts";
import { soon } from "../support/soon.ts";
import type { TestTenant } from "../support/tenant.ts";

let collector: OtlpCollector;
let platform: Platform;
let tenant: TestTenant;

beforeAll(async () => {
  collector = await startCollector();
  platform = await openPlatform({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    // What has ended before the kill is there.
    OTEL_BSP_SCHEDULE_DELAY: "100",
  });
  tenant = await platform.tenant("traces");
});
afterAll(async () => {
  await platform?.close();
  await collector?.close();
});

const SERVER = 2;
const CLIENT = 3;
const PRODUCER = 4;

/** The recorded review of this person, which is no dry run. */
const reviewOf = (name: string): ReceivedSpan | undefined =>
  collector.spans.find(
    ({ name: span, attributes }) =>
      span === "POST /validate" &&
      attributes["k8s.namespace.name"] === tenant.namespace &&
      attributes["unified_rbac.object.name"] === name &&
      attributes["unified_rbac.dry_run"] === false,
  );

it("is one across a kill, with every span, and tells nothing of the person's address or key", async () => {
  const slow = await platform.gateway.fault({ match: { method: "POST" }, action: { latencyMs: 5_000 } });
  await tenant.apply("ada");
  const review = await soon(() => {
    const found = reviewOf("ada");
    assert(found !== undefined, "the admission has not arrived yet");
    return found;
  });
  const inTrace = (): readonly ReceivedSpan[] => collector.spans.filter(({ trace }) => trace === review.trace);
  const named = (name: string): readonly ReceivedSpan[] => inTrace().filter((span) => span.name === name);
  await soon(() => assert(named("keycloak up").length > 0, "the first step has not ended yet"));
  await platform.product.kill("reconciler");
  expect(named("reconcile")).toEqual([]);
  await platform.gateway.heal(slow);
  await platform.product.start("reconciler");
  const person = await tenant.person("ada");
  await soon(() => assert(named("publish sme.user.events").length > 0, "the event has not arrived yet"));

  expect(review).toMatchObject({ kind: SERVER, parent: "", service: "unified-rbac-webhook" });
  expect(named("record admission")).toMatchObject([{ parent: review.id }]);
  const claim = named("reconcile").at(-1);
  assert(claim !== undefined, "no claim has ended");
  expect(claim).toMatchObject({ parent: review.id, service: "unified-rbac-reconciler" });
  for (const below of ["newapi up", "secret up", "write status", "record event"]) {
    expect(named(below).map(({ parent }) => parent)).toContain(claim.id);
  }
  expect(named("publish sme.user.events")).toMatchObject([{ kind: PRODUCER, parent: claim.id }]);
  const callsOf = (upstream: string): readonly ReceivedSpan[] =>
    inTrace().filter(({ kind, attributes }) => kind === CLIENT && attributes["unified_rbac.upstream"] === upstream);
  for (const upstream of ["keycloak", "newapi", "kubernetes"]) expect(callsOf(upstream).length).toBeGreaterThan(0);
  // From before the kill, by a claim that never ended.
  const steps = new Set(named("newapi up").map(({ id }) => id));
  expect(callsOf("newapi").some(({ parent }) => steps.has(parent))).toBe(true);

  const sent = collector.bytes();
  for (const secret of [tenant.email("ada"), person.apiKey, platform.env.NEWAPI_ADMIN_TOKEN]) {
    expect(sent.includes(secret)).toBe(false);
  }
});
