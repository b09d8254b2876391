import type { ServerHttp2Stream } from "node:http2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ApiClient, makeApiClient } from "../../../src/kube/apiClient.ts";
import { listAll } from "../../../src/kube/exchange.ts";
import { makeOpenWatch } from "../../../src/kube/watch.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { answer, COLLECTION, type FakeApiserver, startFakeApiserver } from "./fakeApiserver.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const GET = { method: "GET", path: COLLECTION } as const;

let server: FakeApiserver;
let connection: ApiClient;
beforeEach(async () => {
  server = await startFakeApiserver();
  connection = makeApiClient(server.access, { clock: systemClock });
});
afterEach(async () => {
  connection.close();
  await server.close();
});

function endless(status: number, chunk: string) {
  return (stream: ServerHttp2Stream): void => {
    stream.respond({ ":status": status });
    const more = (): void => {
      while (!stream.destroyed && stream.write(chunk));
      if (!stream.destroyed) stream.once("drain", more);
    };
    more();
  };
}

describe("an answer of the API server", () => {
  it.each([
    ["one without end", endless(200, " ".repeat(65_536)), "larger than 4 MiB"],
    ["an error without end", endless(500, " ".repeat(65_536)), "larger than 4 MiB"],
    ["two million numbers", answer(200, `[${"1,".repeat(2_000_000)}1]`), "more than 1000000 values"],
    ["a million lists in each other", answer(200, "[".repeat(1_000_000)), "nested deeper than 64"],
  ])("is not read when it is %s, and the connection stays", async (_name, special, why) => {
    server.next.push(special);
    const failure = connection.send(GET, signal);
    await expect(failure).rejects.toThrow(why);
    await expect(failure).rejects.toBeInstanceOf(TransientError);
    expect((await connection.send(GET, signal)).status).toBe(200);
    expect(server.connections()).toBe(1);
  });
});

/** A collection of objects of this size, in the pages that are asked for. */
function collection(count: number, size: number): { readonly asked: number[] } {
  const asked: number[] = [];
  const page = (stream: ServerHttp2Stream, { url }: { readonly url: URL }): void => {
    server.next.unshift(page);
    const limit = Number(url.searchParams.get("limit"));
    asked.push(limit);
    const from = Number(url.searchParams.get("continue") ?? "0");
    const items = Array.from({ length: Math.min(limit, count - from) }, (_item, n) => ({
      metadata: { name: `n${from + n}`, annotations: { a: "x".repeat(size) } },
    }));
    const next = from + limit < count ? String(from + limit) : undefined;
    const body = JSON.stringify({ metadata: { resourceVersion: "1", continue: next }, items });
    answer(200, body)(stream, { method: "GET", url, headers: {}, body: "" });
  };
  server.next.push(page);
  return { asked };
}

describe("a list", () => {
  it("of large objects comes in smaller pages, whole and in order", async () => {
    const { asked } = collection(60, 0.25 * MIB);
    const items = await listAll(connection, { doing: "list", path: COLLECTION }, signal);
    expect(items.map((item) => (item as { metadata: { name: string } }).metadata.name)).toEqual(
      Array.from({ length: 60 }, (_item, n) => `n${n}`),
    );
    expect(asked.slice(0, 4)).toEqual([500, 125, 31, 7]);
  });

  it("of one object that is too large is refused, and asked for no more than a few times", async () => {
    const { asked } = collection(3, 5 * MIB);
    await expect(listAll(connection, { doing: "list", path: COLLECTION }, signal)).rejects.toThrow("larger than 4 MiB");
    expect(asked).toEqual([500, 125, 31, 7, 1]);
  });
});

/** As many labels as fit into an object, each of them again in managedFields: nobody but its own tenant may notice. */
function crowded(): Record<string, unknown> {
  const names = Array.from({ length: 70_000 }, (_name, n) => n.toString(36).padStart(4, "a"));
  return {
    labels: Object.fromEntries(names.map((name) => [name, ""])),
    managedFields: [{ fieldsV1: { "f:metadata": Object.fromEntries(names.map((name) => [`f:${name}`, {}])) } }],
  };
}

describe("a watch", () => {
  it("takes in everybody beside an object with as many labels as there can be, from a list and from the stream", async () => {
    server.put("a");
    server.put("crowded", crowded());
    server.put("z");
    const seen: string[] = [];
    const watches = makeOpenWatch(
      connection,
      { log: silentLog, clock: systemClock, random: () => 0.5 },
      { retry: { firstMs: 10, longestMs: 20, spread: [0.5, 1] } },
    );
    watches.open({ path: COLLECTION }, (event) => {
      const objects = event.kind === "listed" ? event.items : [event.object];
      seen.push(...objects.map(({ name }) => `${event.kind} ${name ?? ""}`));
    });
    await expect.poll(() => server.watching(), { timeout: 5_000 }).toBe(1);
    server.put("crowded", crowded());
    server.put("y");
    await expect.poll(() => seen.at(-1), { timeout: 5_000 }).toBe("added y");
    expect(seen.slice(0, 4)).toEqual(["listed a", "listed crowded", "listed z", "modified crowded"]);
    await watches.close();
  });

  it("ends a line that does not end, and lists again", async () => {
    server.put("a");
    const listed: string[][] = [];
    const watches = makeOpenWatch(
      connection,
      { log: silentLog, clock: systemClock, random: () => 0.5 },
      { retry: { firstMs: 10, longestMs: 20, spread: [0.5, 1] } },
    );
    watches.open({ path: COLLECTION }, (event) => {
      if (event.kind === "listed") listed.push(event.items.map(({ name }) => name ?? ""));
    });
    await expect.poll(() => server.watching(), { timeout: 5_000 }).toBe(1);
    server.put("b");
    server.write("x".repeat(5 * MIB));
    await expect.poll(() => listed, { timeout: 10_000 }).toEqual([["a"], ["a", "b"]]);
    await watches.close();
  });
});
