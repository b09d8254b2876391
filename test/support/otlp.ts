/** A collector: takes OTLP over HTTP as protobuf, and gives the spans that came. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

export interface ReceivedSpan {
  readonly name: string;
  /** As OTLP counts them: 1 internal, 2 server, 3 client, 4 producer. */
  readonly kind: number;
  readonly trace: string;
  readonly id: string;
  /** "" at the beginning of a trace. */
  readonly parent: string;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly failed: boolean;
  /** Nanoseconds since the epoch. */
  readonly start: bigint;
  readonly end: bigint;
  readonly service: string;
}

export interface OtlpCollector {
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Of each request. */
  readonly headers: readonly IncomingHttpHeaders[];
  /** All that came, as it came. */
  bytes(): Buffer;
  close(): Promise<void>;
}

export async function startCollector(port = 0): Promise<OtlpCollector> {
  const [spans, headers, bodies]: [ReceivedSpan[], IncomingHttpHeaders[], Buffer[]] = [[], [], []];
  const server = createServer((request, response) => {
    void buffer(request).then((sent) => {
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
      const isTraces = request.url === "/v1/traces" && request.headers["content-type"] === "application/x-protobuf";
      if (isTraces) {
        headers.push(request.headers);
        bodies.push(body);
        spans.push(...decodeRequest(body));
      }
      response.writeHead(isTraces ? 200 : 404, { "content-type": "application/x-protobuf" }).end();
    });
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : port}`,
    spans,
    headers,
    bytes: () => Buffer.concat(bodies),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

type Value = bigint | Buffer;
type Message = ReadonlyMap<number, readonly Value[]>;

/** Field numbers of opentelemetry/proto: ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span, KeyValue, AnyValue. */
function decodeRequest(bytes: Buffer): ReceivedSpan[] {
  return messages(decode(bytes), 1).flatMap((resourceSpans) => {
    const resource = attributesOf(messages(resourceSpans, 1)[0] ?? new Map(), 1);
    return messages(resourceSpans, 2).flatMap((scope) =>
      messages(scope, 2).map((span) => spanOf(span, String(resource["service.name"]))),
    );
  });
}

function spanOf(span: Message, service: string): ReceivedSpan {
  return {
    trace: bytesIn(span, 1).toString("hex"),
    id: bytesIn(span, 2).toString("hex"),
    parent: bytesIn(span, 4).toString("hex"),
    name: bytesIn(span, 5).toString("utf8"),
    kind: Number(numberIn(span, 6)),
    start: numberIn(span, 7),
    end: numberIn(span, 8),
    attributes: attributesOf(span, 9),
    failed: numberIn(messages(span, 15)[0] ?? new Map(), 3) === 2n,
    service,
  };
}

function attributesOf(message: Message, field: number): Record<string, string | number | boolean> {
  return Object.fromEntries(
    messages(message, field).map((entry) => {
      const value = messages(entry, 2)[0] ?? new Map();
      const number = value.has(3) ? Number(BigInt.asIntN(64, numberIn(value, 3))) : undefined;
      const flag = value.has(2) ? numberIn(value, 2) === 1n : undefined;
      return [bytesIn(entry, 1).toString("utf8"), flag ?? number ?? bytesIn(value, 1).toString("utf8")];
    }),
  );
}

function messages(message: Message, field: number): Message[] {
  return (message.get(field) ?? []).flatMap((value) => (Buffer.isBuffer(value) ? [decode(value)] : []));
}

function bytesIn(message: Message, field: number): Buffer {
  const value = message.get(field)?.at(-1);
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0);
}

function numberIn(message: Message, field: number): bigint {
  const value = message.get(field)?.at(-1);
  return typeof value === "bigint" ? value : 0n;
}

/** The wire format of protobuf: fields by number. */
function decode(bytes: Buffer): Message {
  const fields = new Map<number, Value[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at);
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  const valueOf = (wire: number): Value => {
    if (wire === 0) return varint();
    if (wire === 1) return take(8).readBigUInt64LE();
    if (wire === 2) return take(Number(varint()));
    if (wire === 5) return BigInt(take(4).readUInt32LE());
    throw new Error(`wire type ${wire}`);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const field = key >>> 3;
    fields.set(field, [...(fields.get(field) ?? []), valueOf(key & 7)]);
  }
  return fields;
}
