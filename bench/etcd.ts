/** The store under the API server, by its HTTP gateway: thousands of objects come and go at once, where calls take minutes. */
import { setTimeout as sleep } from "node:timers/promises";

import type { StackEnv } from "../stack/index.ts";
import { readState } from "../stack/state.ts";

const AT_ONCE = 100;

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** Every key below this prefix, which ends in "/". */
export async function removeAll(env: StackEnv, prefix: string): Promise<void> {
  await post(env, "deleterange", { key: base64(prefix), range_end: base64(`${prefix.slice(0, -1)}0`) });
  // The API server hears of it by its watch.
  await sleep(500);
}

/** Custom resources lie there as JSON. */
export async function putAll(env: StackEnv, objects: ReadonlyMap<string, object>): Promise<void> {
  const puts = Array.from(objects, ([key, object]) => ({
    request_put: { key: base64(key), value: base64(JSON.stringify(object)) },
  }));
  for (let from = 0; from < puts.length; from += AT_ONCE) {
    await post(env, "txn", { success: puts.slice(from, from + AT_ONCE) });
  }
}

async function post(env: StackEnv, what: string, body: object): Promise<void> {
  const port = readState(env.STACK_DIR).ports?.etcd;
  if (port === undefined) throw new Error("the stack does not say where its etcd is");
  const answer = await fetch(`http://127.0.0.1:${port}/v3/kv/${what}`, { method: "POST", body: JSON.stringify(body) });
  const said = await answer.text();
  if (!answer.ok) throw new Error(`etcd answered ${answer.status}: ${said}`);
}
