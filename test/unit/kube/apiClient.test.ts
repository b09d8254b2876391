import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { constants } from "node:http2";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fromKubeconfig, inCluster } from "../../../src/kube/access.ts";
import { type ApiClient, type ApiClientOptions, makeApiClient } from "../../../src/kube/apiClient.ts";
import { systemClock } from "../../../src/lib/clock.ts";
import { TransientError } from "../../../src/lib/errors.ts";
import { answer, COLLECTION, type FakeApiserver, startFakeApiserver, status } from "./fakeApiserver.ts";

let server: FakeApiserver;
let connection: ApiClient;
const signal = new AbortController().signal;
const GET = { method: "GET", path: COLLECTION } as const;

beforeEach(async () => {
  server = await startFakeApiserver();
});
afterEach(async () => {
  connection?.close();
  await server.close();
});

function connect(options: ApiClientOptions = {}): ApiClient {
  connection = makeApiClient(server.access, { clock: systemClock }, options);
  return connection;
}

describe("calls", () => {
  it("share one connection, all at once and one after the other", async () => {
    connect();
    await Promise.all(Array.from({ length: 50 }, () => connection.send(GET, signal)));
    for (let n = 0; n < 10; n += 1) await connection.send(GET, signal);
    expect(server.connections()).toBe(1);
    expect(connection.sessions()).toBe(1);
  });

  it("send the body, its type and the credentials", async () => {
    connect();
    const body = { a: "ü" };
    server.next.push(answer(201, "{}"), answer(200, "{}"));
    await connection.send({ method: "POST", path: "/x", body, query: { fieldManager: "unified-rbac" } }, signal);
    await connection.send({ method: "PATCH", path: "/x", body, patchType: "apply" }, signal);
    expect(server.seen.map((request) => [request.url.search, request.headers["content-type"], request.body])).toEqual([
      ["?fieldManager=unified-rbac", "application/json", JSON.stringify(body)],
      ["", "application/apply-patch+yaml", JSON.stringify(body)],
    ]);
    expect(server.seen[0]?.headers["authorization"]).toBe("Bearer fake");
  });

  it("have a deadline, and say so", async () => {
    connect({ deadlineMs: 50 });
    server.next.push(() => undefined);
    const failure = connection.send(GET, signal);
    await expect(failure).rejects.toThrow("kubernetes did not answer within 0.05 s.");
    await expect(failure).rejects.toBeInstanceOf(TransientError);
  });

  it("have a deadline for the body too", async () => {
    connect({ deadlineMs: 50 });
    server.next.push((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("{");
    });
    await expect(connection.send(GET, signal)).rejects.toThrow("did not answer within");
  });

  it("have a deadline for the way there too", async () => {
    const mute = createServer((socket) => socket.on("error", () => undefined).resume());
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const address = mute.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const access = { ...server.access, server: new URL(`https://127.0.0.1:${port}`) };
    connection = makeApiClient(access, { clock: systemClock }, { deadlineMs: 50 });
    await expect(connection.send(GET, signal)).rejects.toThrow("did not answer within");
    await expect(open()).rejects.toThrow("did not answer within");
    connection.close();
    await new Promise((resolve) => mute.close(resolve));
  });

  it("end with the given signal", async () => {
    connect();
    server.next.push(() => undefined);
    const stop = new AbortController();
    const failure = connection.send(GET, stop.signal);
    setTimeout(() => stop.abort(new Error("shutting down")), 10);
    await expect(failure).rejects.toThrow("could not be reached (shutting down)");
  });

  it("are transient when nobody listens, and work once somebody does", async () => {
    const access = { ...server.access, server: new URL("https://127.0.0.1:1") };
    connection = makeApiClient(access, { clock: systemClock });
    await expect(connection.send(GET, signal)).rejects.toThrow(/kubernetes could not be reached \(.*ECONNREFUSED/);
    expect(connection.sessions()).toBe(0);
  });

  it("do not take an answer that was cut for a whole one", async () => {
    connect();
    server.next.push((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("{}");
      setTimeout(() => server.dropConnections(), 10);
    });
    await expect(connection.send(GET, signal)).rejects.toBeInstanceOf(TransientError);
  });

  it("are sent again only when the server says that it did not look at them", async () => {
    connect();
    server.next.push((stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    expect((await connection.send(GET, signal)).status).toBe(200);
    expect(server.seen).toHaveLength(2);
    server.next.push((stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    await expect(connection.send(GET, signal)).rejects.toBeInstanceOf(TransientError);
    expect(server.seen).toHaveLength(3);
  });

  it("use a new connection after a dropped and after a frozen one", async () => {
    connect({ deadlineMs: 300, timing: { pingMs: 20, pingAnswerMs: 50 } });
    await connection.send(GET, signal);
    server.dropConnections();
    await vi.waitFor(() => expect(connection.sessions()).toBe(0), 15_000);
    await connection.send(GET, signal);
    server.freeze();
    await vi.waitFor(() => expect(connection.sessions()).toBe(0), 15_000);
    await connection.send(GET, signal);
    expect(server.connections()).toBe(3);
  });

  it("leave no idle connection behind for ever", async () => {
    connect({ timing: { idleMs: 20 } });
    await connection.send(GET, signal);
    await vi.waitFor(() => expect(connection.sessions()).toBe(0), 15_000);
    expect((await connection.send(GET, signal)).status).toBe(200);
  });
});

function open(stop: AbortSignal = signal): ReturnType<ApiClient["stream"]> {
  return connection.stream(GET, () => undefined, stop);
}

describe("streams", () => {
  it("continue beyond the deadline and the signal of their opening, until they are cancelled", async () => {
    connect({ deadlineMs: 50 });
    const stop = new AbortController();
    const closed = Promise.withResolvers<void>();
    server.next.push((stream) => {
      stream.respond({ ":status": 200 });
      stream.on("close", () => closed.resolve());
      setTimeout(() => stream.write("late\n"), 120);
    });
    const opened = await open(stop.signal);
    if ("text" in opened) throw new Error("it was refused");
    stop.abort();
    expect(await opened.next()).toBe("late");
    const last = opened.next();
    opened.cancel();
    await expect(last).rejects.toThrow("HTTP/2 code 8");
    await closed.promise;
  });

  it("end with the signal, and with the deadline, while they are being opened", async () => {
    connect({ deadlineMs: 50 });
    server.next.push(
      () => undefined,
      () => undefined,
    );
    await expect(open()).rejects.toThrow("kubernetes did not answer within 0.05 s.");
    const stop = new AbortController();
    const failure = open(stop.signal);
    stop.abort(new Error("shutting down"));
    await expect(failure).rejects.toThrow("could not be reached (shutting down)");
  });

  it("that are refused are a whole answer, for which there is a deadline too", async () => {
    connect({ deadlineMs: 200 });
    server.next.push(answer(403, status(403, "Forbidden"), { "retry-after": "7" }));
    const refused = await open();
    expect("text" in refused && [refused.status, refused.headers.get("retry-after")]).toEqual([403, "7"]);
    server.next.push((stream) => {
      stream.respond({ ":status": 403 });
      stream.write("{");
    });
    await expect(open()).rejects.toThrow("did not answer within");
  });

  it("that end with their head have no lines", async () => {
    connect();
    server.next.push(answer(200, ""));
    const opened = await open();
    expect("next" in opened && (await opened.next())).toBeUndefined();
  });
});

const dirs: string[] = [];
function dir(): string {
  const made = mkdtempSync(join(tmpdir(), "unified-rbac-kube-"));
  dirs.push(made);
  return made;
}
afterEach(() => {
  for (const made of dirs.splice(0)) rmSync(made, { recursive: true });
});

describe("credentials", () => {
  it("with another client certificate get a connection of their own, and the old one no new calls", async () => {
    let certificate = "first";
    const access = {
      ...server.access,
      credentials: async () => ({ ...(await server.access.credentials()), certificate }),
    };
    connection = makeApiClient(access, { clock: systemClock });
    for (let n = 0; n < 3; n += 1) await connection.send(GET, signal);
    expect(server.connections()).toBe(1);
    certificate = "renewed";
    for (let n = 0; n < 3; n += 1) await connection.send(GET, signal);
    expect(server.connections()).toBe(2);
  });

  it("of a client certificate in a file are other ones when it is renewed, and so are those of a program", async () => {
    const dir = mkdtempSync(join(tmpdir(), "kubeconfig-"));
    const print = `console.log(JSON.stringify({ status: { clientCertificateData: String(process.hrtime.bigint()), clientKeyData: "k" } }))`;
    writeFileSync(join(dir, "crt"), "first");
    writeFileSync(join(dir, "key"), "key");
    writeFileSync(
      join(dir, "config"),
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server: "https://example.com" } }],
        users: [
          { name: "file", user: { "client-certificate": "crt", "client-key": "key" } },
          { name: "exec", user: { exec: { command: process.execPath, args: ["-e", print] } } },
        ],
        contexts: ["file", "exec"].map((name) => ({ name, context: { cluster: "c", user: name } })),
      }),
    );
    const read = (context: string) => fromKubeconfig({ clock: systemClock }, join(dir, "config"), context);
    const ofFile = await read("file");
    const before = (await ofFile.credentials()).certificate;
    expect(before).toBeDefined();
    expect(await ofFile.renew()).toBe(false);
    writeFileSync(join(dir, "crt"), "second");
    expect(await ofFile.renew()).toBe(true);
    expect((await ofFile.credentials()).certificate).not.toBe(before);
    const ofProgram = await read("exec");
    const shown = (await ofProgram.credentials()).certificate;
    expect(shown).toBeDefined();
    expect(await ofProgram.renew()).toBe(true);
    expect((await ofProgram.credentials()).certificate).not.toBe(shown);
    rmSync(dir, { recursive: true });
  });

  it("of a Pod are read again after 401 and sent once more", async () => {
    const place = dir();
    writeFileSync(join(place, "token"), "old\n");
    writeFileSync(join(place, "ca.crt"), String((await server.access.credentials()).tls().ca));
    const access = inCluster(
      { clock: systemClock },
      { host: "127.0.0.1", port: server.access.server.port, dir: place },
    );
    connection = makeApiClient(access, { clock: systemClock });
    server.next.push((stream, request) => {
      writeFileSync(join(place, "token"), "new\n");
      answer(401, status(401, "Unauthorized"))(stream, request);
    });
    expect((await connection.send(GET, signal)).status).toBe(200);
    expect(server.seen.map((request) => request.headers["authorization"])).toEqual(["Bearer old", "Bearer new"]);
    server.next.push(answer(401, status(401, "Unauthorized")));
    expect((await connection.send(GET, signal)).status).toBe(401);
    expect(server.seen).toHaveLength(3);
  });

  it("of a Pod are looked at every ten seconds", async () => {
    const place = dir();
    writeFileSync(join(place, "token"), "one");
    let now = 0;
    const access = inCluster({ clock: { now: () => now } }, { dir: place });
    const header = async () => (await access.credentials()).headers["authorization"];
    expect(access.server.href).toBe("https://kubernetes.default.svc/");
    expect(await header()).toBe("Bearer one");
    writeFileSync(join(place, "token"), "two");
    now = 9_999;
    expect(await header()).toBe("Bearer one");
    now = 10_000;
    expect(await header()).toBe("Bearer two");
  });

  it("come from kubeconfigs: merged, with paths relative to each file", async () => {
    const [one, two] = [dir(), dir()];
    writeFileSync(join(one, "token"), "from-file");
    writeFileSync(
      join(one, "config"),
      JSON.stringify({
        "current-context": "x",
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        users: [
          { name: "u", user: { tokenFile: "token", as: "somebody" } },
          { name: "exec", user: { exec: { command: process.execPath, args: ["-e", printCredential] } } },
          { name: "basic", user: { username: "a", password: "b" } },
        ],
      }),
    );
    writeFileSync(
      join(two, "config"),
      JSON.stringify({
        "current-context": "ignored",
        clusters: [
          { name: "c", cluster: { server: "https://example.com:6443/k8s/c1/", "certificate-authority": "ca" } },
        ],
        contexts: ["exec", "basic"].map((name) => ({ name, context: { cluster: "c", user: name } })),
      }),
    );
    writeFileSync(join(two, "ca"), "PEM");
    const paths = `${join(one, "config")}:${join(two, "config")}`;
    const read = (context?: string) => fromKubeconfig({ clock: systemClock }, paths, context);
    const access = await read();
    expect(access.server.href).toBe("https://example.com:6443/k8s/c1");
    const credentials = await access.credentials();
    expect(credentials.headers).toEqual({ authorization: "Bearer from-file", "impersonate-user": "somebody" });
    expect(String(credentials.tls().ca)).toBe("PEM");
    expect((await (await read("exec")).credentials()).headers).toEqual({ authorization: "Bearer from-program" });
    expect((await (await read("basic")).credentials()).headers).toEqual({ authorization: "Basic YTpi" });
    await expect(read("nowhere")).rejects.toThrow("has no context nowhere");
  });
});

const printCredential = 'console.log(JSON.stringify({ status: { token: "from-program" } }))';
