import { randomInt } from "node:crypto";
import { isFree } from "../stack/ports.ts";

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(port)) return port;
  }
}
