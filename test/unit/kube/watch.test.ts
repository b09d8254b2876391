import { constants } from "node:http2";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Watch, WatchEvent } from "../../../src/kube/cluster.ts";
import { type ApiClient, makeApiClient } from "../../../src/kube/apiClient.ts";
import { makeOpenWatch, type Watches, type WatchTiming } from "../../../src/kube/watch.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { answer, COLLECTION, type FakeApiserver, startFakeApiserver, status } from "./fakeApiserver.ts";

let server: FakeApiserver;
let connection: ApiClient;
let watches: Watches;

beforeEach(async () => {
  server = await startFakeApiserver({ pageLimit: 2 });
  // A busy machine answers late, and late is not silent: only what never answers may lose its connection here.
  connection = makeApiClient(server.access, { clock: systemClock }, { timing: { pingMs: 50, pingAnswerMs: 1_000 } });
});

afterEach(async () => {
  await watches.close();
  connection.close();
  await server.close();
});

const QUICK: Partial<WatchTiming> = { retry: { firstMs: 5, longestMs: 50, spread: [0.5, 1] }, healthyMs: 50 };

function start(
  timing: Partial<WatchTiming> = {},
  onEvent: (event: WatchEvent) => Promise<void> | void = () => undefined,
): { watch: Watch; said: string[]; events: WatchEvent[] } {
  const said: string[] = [];
  const events: WatchEvent[] = [];
  watches = makeOpenWatch(
    connection,
    { log: silentLog, clock: systemClock, random: () => 0.5 },
    { ...QUICK, ...timing },
  );
  const watch = watches.open({ path: COLLECTION, labelSelector: "a=b" }, async (event) => {
    await onEvent(event);
    events.push(event);
    said.push(
      event.kind === "listed"
        ? `listed ${event.items.map((item) => item.name).join(",")}`
        : `${event.kind} ${event.object.name}`,
    );
  });
  return { watch, said, events };
}

const SOON = { timeout: 5_000, interval: 5 };
const lists = () => server.seen.filter((request) => !request.url.searchParams.has("watch")).length;
const watchRequests = () => server.seen.filter((request) => request.url.searchParams.has("watch"));
const watching = () => vi.waitFor(() => expect(server.watching()).toBe(1), 5_000);

describe("a watch", () => {
  it("lists in pages, then tells changes in order, with metadata only", async () => {
    for (const name of ["a", "b", "c"]) server.put(name);
    const { watch, said, events } = start();
    await watch.synced;
    expect(lists()).toBe(2);
    await watching();
    server.put("d");
    server.put("a");
    server.remove("b");
    await expect.poll(() => said, SOON).toEqual(["listed a,b,c", "added d", "modified a", "deleted b"]);
    const [first] = server.seen;
    expect(first?.headers["accept"]).toContain("as=PartialObjectMetadataList");
    expect(first?.url.searchParams.get("limit")).toBe("500");
    expect(watchRequests()[0]?.headers["accept"]).toContain("as=PartialObjectMetadata;");
    expect(Object.fromEntries(watchRequests()[0]?.url.searchParams ?? [])).toEqual({
      watch: "true",
      allowWatchBookmarks: "true",
      labelSelector: "a=b",
      resourceVersion: "103",
      timeoutSeconds: "2700",
    });
    expect(JSON.stringify(events)).not.toContain("managedFields");
    expect(server.connections()).toBe(1);
  });

  it("waits for the handler before it tells the next change", async () => {
    const order: string[] = [];
    const { said } = start({}, async (event) => {
      order.push(`begin ${event.kind}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push(`end ${event.kind}`);
    });
    await watching();
    server.put("a");
    server.remove("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "deleted a"]);
    expect(order).toEqual(["listed", "added", "deleted"].flatMap((kind) => [`begin ${kind}`, `end ${kind}`]));
  });

  it("reads a change that arrives in pieces", async () => {
    const { said } = start();
    await watching();
    server.write('{"type":"ADDED","object":{"metadata":{"name":"zoë","resourceV');
    await new Promise((resolve) => setTimeout(resolve, 20));
    server.write('ersion":"150"}}}\n{"type":"MODIFIED","object":{"metadata":{"name":"zoë"}}}\n');
    await expect.poll(() => said, SOON).toEqual(["listed ", "added zoë", "modified zoë"]);
  });

  it("continues from the last version when the server ends it", async () => {
    const { said } = start({ healthyMs: 0 });
    await watching();
    server.put("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a"]);
    server.endWatches();
    server.put("b");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "added b"]);
    await vi.waitFor(() => expect(watchRequests()).toHaveLength(2), 15_000);
    expect(watchRequests()[1]?.url.searchParams.get("resourceVersion")).toBe("101");
    expect(lists()).toBe(1);
  });

  it("continues from a bookmark, which is progress too", async () => {
    server.put("a");
    const { watch, said } = start({ healthyMs: 0 });
    await watching();
    const before = watch.lastProgress();
    await new Promise((resolve) => setTimeout(resolve, 10));
    server.compact();
    server.bookmark();
    await vi.waitFor(() => expect(watch.lastProgress()).toBeGreaterThan(before), 15_000);
    server.endWatches();
    await vi.waitFor(() => expect(watchRequests()).toHaveLength(2), 15_000);
    expect(watchRequests()[1]?.url.searchParams.get("resourceVersion")).toBe("102");
    await watching();
    server.put("b");
    await expect.poll(() => said, SOON).toEqual(["listed a", "added b"]);
  });

  it("is asked for in the room of few connections", async () => {
    start();
    const path = COLLECTION;
    const many = Array.from({ length: 199 }, () => watches.open({ path }, () => undefined));
    await Promise.all(many.map((watch) => watch.synced));
    await vi.waitFor(() => expect(server.watching()).toBe(200), 15_000);
    // Three on a quiet machine; one that a slow machine was taken for dead on is opened again.
    expect(server.connections()).toBeLessThanOrEqual(6);
  });

  it("does not wait for another watch whose handler hangs", async () => {
    const hanging = Promise.withResolvers<void>();
    start({}, (event) => (event.kind === "listed" ? undefined : hanging.promise));
    const said: string[] = [];
    watches.open({ path: COLLECTION }, (event) => {
      if (event.kind !== "listed") said.push(event.object.name);
    });
    await vi.waitFor(() => expect(server.watching()).toBe(2), 15_000);
    const names = Array.from({ length: 2000 }, (_, index) => `${"x".repeat(200)}-${index}`);
    for (const name of names) server.put(name);
    await vi.waitFor(() => expect(said).toHaveLength(2000), 10_000);
    hanging.resolve();
  });

  it("is alive while the API server is away, and not while its handler hangs", async () => {
    const hanging = Promise.withResolvers<void>();
    const { watch } = start({}, (event) => (event.kind === "listed" ? undefined : hanging.promise));
    await watch.synced;
    await watching();
    await server.close();
    await expect.poll(() => Date.now() - watch.lastProgress(), SOON).toBeGreaterThan(500);
    expect(Date.now() - watches.lastProgress()).toBeLessThan(300);
    await watches.close();
    expect(Date.now() - watches.lastProgress()).toBeLessThan(100);

    server = await startFakeApiserver({ pageLimit: 2 });
    connection = makeApiClient(server.access, { clock: systemClock });
    start({}, (event) => (event.kind === "listed" ? undefined : hanging.promise));
    await watching();
    server.put("a");
    await expect.poll(() => Date.now() - watches.lastProgress(), SOON).toBeGreaterThan(500);
    hanging.resolve();
  });

  it("stops cleanly, with the handler's last work done, and is not synced if it never was", async () => {
    let worked = false;
    const { watch } = start({}, async () => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      worked = true;
    });
    await vi.waitFor(() => expect(lists()).toBe(1), 15_000);
    await watch.stop();
    expect(worked).toBe(true);
    await vi.waitFor(() => expect(server.watching()).toBe(0), 15_000);
    server.next.push(...Array.from({ length: 500 }, () => answer(500, status(500, "InternalError"))));
    const other = watches.open({ path: COLLECTION }, () => undefined);
    await vi.waitFor(() => expect(server.next.length).toBeLessThan(499), 15_000);
    await other.stop();
    await expect(other.synced).rejects.toThrow("stopped");
  });
});

/** Breaks it, then expects a change made meanwhile to arrive once, without a new list. */
async function survivor(fail: () => void): Promise<string[]> {
  const { watch, said } = start();
  await watching();
  server.put("a");
  await expect.poll(() => said, SOON).toEqual(["listed ", "added a"]);
  fail();
  server.put("b");
  await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "added b"]);
  expect(watchRequests().length).toBeGreaterThan(1);
  expect(lists()).toBe(1);
  await watching();
  server.put("c");
  await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "added b", "added c"]);
  expect(Date.now() - watch.lastProgress()).toBeLessThan(2_000);
  return said;
}

const TOLD = ["listed ", "added a", "added b", "added c"];

describe("a watch survives", () => {
  it("a connection that is dropped", async () => {
    expect(await survivor(() => server.dropConnections())).toEqual(TOLD);
  });

  it("a connection that is dropped in the middle of a line", async () => {
    expect(
      await survivor(() => {
        server.write('{"type":"ADDED","object":{"metada');
        setTimeout(() => server.dropConnections(), 20);
        server.endWatches();
      }),
    ).toEqual(TOLD);
  });

  it("a stream that is reset", async () => {
    expect(await survivor(() => server.resetWatches(constants.NGHTTP2_INTERNAL_ERROR))).toEqual(TOLD);
  });

  it("a GOAWAY with an error", async () => {
    expect(await survivor(() => server.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM))).toEqual(TOLD);
  });

  it("a connection that goes silent without closing", async () => {
    expect(await survivor(() => server.freeze())).toEqual(TOLD);
  });

  it("an answer that is no JSON", async () => {
    expect(await survivor(() => server.write("<html>a proxy says sorry</html>\n"))).toEqual(TOLD);
  });

  it("500, 429, 403 and nonsense in a row", async () => {
    expect(
      await survivor(() => {
        server.next.push(
          answer(500, status(500, "InternalError")),
          answer(429, status(429, "TooManyRequests"), { "retry-after": "0" }),
          answer(403, status(403, "Forbidden")),
          answer(502, "<html>"),
        );
        server.dropConnections();
      }),
    ).toEqual(TOLD);
  });

  it("an orderly GOAWAY: the open stream continues, new ones take another connection", async () => {
    const { said } = start();
    await watching();
    server.goaway();
    server.put("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a"]);
    const request = { method: "GET", path: COLLECTION } as const;
    expect((await connection.send(request, AbortSignal.timeout(5_000))).status).toBe(200);
    expect(server.connections()).toBe(2);
    expect(watchRequests()).toHaveLength(1);
  });

  it("a stream on which nothing comes any more while the connection lives", async () => {
    const { said } = start({ quietMs: 60 });
    await watching();
    await vi.waitFor(() => expect(watchRequests().length).toBeGreaterThan(2), 5_000);
    server.put("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a"]);
    expect(lists()).toBe(1);
  });

  it("its own silence, and leaves the others alone", async () => {
    start({ quietMs: 200 });
    await watching();
    const bookmarks = setInterval(() => server.bookmark(), 20);
    const list = JSON.stringify({ metadata: { resourceVersion: "100" }, items: null });
    server.next.push(answer(200, list), (stream) => stream.respond({ ":status": 200 }));
    const silent = watches.open({ path: COLLECTION }, () => undefined);
    await silent.synced;
    await vi.waitFor(() => expect(server.watching()).toBe(2), 5_000);
    await vi.waitFor(() => expect(watchRequests()).toHaveLength(3), 5_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    clearInterval(bookmarks);
    expect(watchRequests()).toHaveLength(3);
  });

  it("a handler that works for longer than silence may last", async () => {
    const { said } = start({ quietMs: 60 }, async (event) => {
      if (event.kind === "added") await new Promise((resolve) => setTimeout(resolve, 200));
    });
    await watching();
    const before = watchRequests().length;
    server.put("a");
    await vi.waitFor(() => expect(said).toContain("added a"), 5_000);
    // What opened it again was silence before the change came, at most.
    expect(watchRequests().length).toBeLessThanOrEqual(before + 1);
    expect(said).toEqual(["listed ", "added a"]);
  });

  it("410 in the stream: lists again", async () => {
    const { said } = start();
    await watching();
    server.put("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a"]);
    server.compact();
    server.dropConnections();
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "listed a"]);
    await watching();
    server.put("b");
    await expect.poll(() => said, SOON).toEqual(["listed ", "added a", "listed a", "added b"]);
  });

  it("410 as the answer: lists again", async () => {
    const { said } = start();
    await watching();
    server.next.push(answer(410, status(410, "Expired")));
    server.endWatches();
    await expect.poll(() => said, SOON).toEqual(["listed ", "listed "]);
  });

  it("410 between two pages: begins the list again", async () => {
    for (const name of ["a", "b", "c"]) server.put(name);
    server.next.push(
      (stream, request) => {
        const metadata = { resourceVersion: "1", continue: "2" };
        answer(200, JSON.stringify({ metadata, items: [{ metadata: { name: "old" } }] }))(stream, request);
      },
      answer(410, status(410, "Expired")),
    );
    const { said } = start();
    await expect.poll(() => said, SOON).toEqual(["listed a,b,c"]);
  });

  it("a server that is not there at first", async () => {
    server.next.push(...Array.from({ length: 6 }, () => answer(503, status(503, "ServiceUnavailable"))));
    const { watch, said } = start();
    await watch.synced;
    expect(said).toEqual(["listed "]);
  });

  it("a handler that throws: nothing it missed is lost, it is listed again", async () => {
    let failures = 2;
    const { said } = start({}, (event) => {
      if (event.kind === "added" && failures-- > 0) throw new Error("Postgres is away");
    });
    await watching();
    server.put("a");
    await expect.poll(() => said, SOON).toEqual(["listed ", "listed a"]);
  });

  it("a watch that is ended as soon as it begins, without a hot loop", async () => {
    const { said } = start({ retry: { firstMs: 50, longestMs: 200, spread: [0.5, 1] }, healthyMs: 1_000 });
    server.next.push((stream, request) => {
      answer(200, JSON.stringify({ metadata: { resourceVersion: "1" }, items: [] }))(stream, request);
    });
    server.next.push(...Array.from({ length: 20 }, () => answer(200, "")));
    await expect.poll(() => said, SOON).toEqual(["listed "]);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(watchRequests().length).toBeLessThan(6);
    server.next.length = 0;
  });
});

describe("a watch lists again", () => {
  it("on its timer, whatever the stream says", async () => {
    server.put("a");
    const { said } = start({ relistMs: 100 });
    await vi.waitFor(() => expect(said.length).toBeGreaterThan(2), 5_000);
    expect(new Set(said)).toEqual(new Set(["listed a"]));
  });

  it("on its timer, when the handler that works then has ended", async () => {
    const order: string[] = [];
    start({ relistMs: 100 }, async (event) => {
      order.push(`begin ${event.kind}`);
      if (event.kind === "added") await new Promise((resolve) => setTimeout(resolve, 300));
      order.push(`end ${event.kind}`);
    });
    await watching();
    server.put("a");
    await vi.waitFor(() => expect(order).toContain("end added"), 5_000);
    await vi.waitFor(() => expect(order.at(-1)).toBe("end listed"), 5_000);
    for (let at = 0; at < order.length - 1; at += 2) expect(order[at + 1]).toBe(order[at]?.replace("begin", "end"));
  });

  it("after the pause that the server asked for", async () => {
    server.next.push(answer(429, status(429, "TooManyRequests"), { "retry-after": "1" }));
    const began = Date.now();
    const { watch } = start();
    await watch.synced;
    expect(Date.now() - began).toBeGreaterThanOrEqual(990);
  });
});

describe("of what others wrote on an object, a watch", () => {
  const REQUESTED = "catalyst.openova.io/requestedAt";

  it("keeps what is read and no more, however much there is", async () => {
    const more = {
      labels: { team: "x".repeat(10_000) },
      finalizers: ["catalyst.openova.io/unified-rbac", "f".repeat(10_000)],
      annotations: { foreign: "\u0000".repeat(100_000), [REQUESTED]: "\\".repeat(250_000) },
    };
    for (let n = 0; n < 5; n += 1) server.put(`o${n}`, more);
    server.put("plain", { annotations: { [REQUESTED]: "2026-11-30T15:00:00Z" } });
    const { watch, events } = start();
    await watch.synced;
    await watching();
    server.put("late", more);
    await expect.poll(() => events.length, SOON).toBe(2);
    const kept = JSON.stringify(events);
    expect(kept.length).toBeLessThan(3_000);
    expect(kept).not.toMatch(/xxx|fff|u0000|foreign/);
    expect(kept).toContain("2026-11-30T15:00:00Z");
    expect(kept.match(/sha256:[0-9a-f]{64}/g)).toHaveLength(6);
  });

  it("leaves out one that is no object, and takes in all others", async () => {
    const skipped: string[] = [];
    server.put("a");
    server.put("bad", { annotations: { [REQUESTED]: 7 } });
    server.put("z");
    watches = makeOpenWatch(
      connection,
      { log: silentLog, clock: systemClock, random: () => 0.5, skipped: () => void skipped.push("object") },
      QUICK,
    );
    const said: string[] = [];
    watches.open({ path: COLLECTION }, (event) => {
      said.push(event.kind === "listed" ? event.items.map(({ name }) => name).join() : event.object.name);
    });
    await watching();
    server.put("bad", { finalizers: "none" });
    server.put("later");
    await expect.poll(() => said, SOON).toEqual(["a,z", "later"]);
    expect(skipped).toEqual(["object", "object"]);
  });
});
